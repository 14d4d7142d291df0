package throttle

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// fault is an answer of the Table service that says nothing about the request.
type fault struct {
	status        int
	code, message string
}

var (
	busy     = fault{http.StatusServiceUnavailable, "ServerBusy", "The server is busy."}
	internal = fault{http.StatusInternalServerError, "InternalError",
		"Server encountered an internal error. Please try again after some time."}
	timedOut = fault{http.StatusInternalServerError, "OperationTimedOut",
		"Operation could not be completed within the specified time."}
)

const (
	contentType = "application/json;odata=minimalmetadata;streaming=true;charset=utf-8"
	requestID   = "00000000-0000-0000-0000-000000000000"
	batch       = "batchresponse_" + requestID
	changeset   = "changesetresponse_" + requestID
)

// body is the error in JSON; index is "0:" for an action of a transaction.
func (f *fault) body(index string) string {
	text := fmt.Sprintf("%s%s\nRequestId:%s\nTime:%s", index, f.message, requestID, time.Now().UTC().Format("2006-01-02T15:04:05.0000000Z"))
	quoted, _ := json.Marshal(text) // of a string: cannot fail
	return fmt.Sprintf(`{"odata.error":{"code":%q,"message":{"lang":"en-US","value":%s}}}`, f.code, quoted)
}

// answer is that of a single operation, or of a transaction that was not taken.
func (f *fault) answer(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Ms-Request-Id", requestID)
	h.Set("X-Ms-Version", "2019-02-02")
	h.Set("X-Ms-Error-Code", f.code)
	w.WriteHeader(f.status)
	fmt.Fprint(w, f.body(""))
}

// answerTransaction is that of a transaction that failed at its first action:
// 202, and the fault inside.
func (f *fault) answerTransaction(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "multipart/mixed; boundary="+batch)
	h.Set("X-Ms-Request-Id", requestID)
	h.Set("X-Ms-Version", "2019-02-02")
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprint(w, strings.Join([]string{
		"--" + batch,
		"Content-Type: multipart/mixed; boundary=" + changeset,
		"",
		"--" + changeset,
		"Content-Type: application/http",
		"Content-Transfer-Encoding: binary",
		"",
		fmt.Sprintf("HTTP/1.1 %d %s", f.status, http.StatusText(f.status)),
		"X-Content-Type-Options: nosniff",
		"DataServiceVersion: 3.0;",
		"Content-Type: " + contentType,
		"",
		f.body("0:"),
		"--" + changeset + "--",
		"--" + batch + "--",
		"",
	}, "\r\n"))
}
