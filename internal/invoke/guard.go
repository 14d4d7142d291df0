package invoke

import (
	"net/http"
	"strings"
)

// FromHost says whether a call under the Functions host is the host's own, for
// the function of that name. With a catch-all route anyone can have the host
// pass on POST /{function}, also in spellings that its routes do not catch. But
// the host's own calls are chunked, bodies that it forwards have a length, and
// calls that it proxies say for whom; the path must be the very one.
func FromHost(r *http.Request, function string) bool {
	return r.Method == http.MethodPost &&
		r.URL.EscapedPath() == "/"+function &&
		r.ContentLength == -1 && strings.Join(r.TransferEncoding, ",") == "chunked" &&
		len(r.Header.Values("X-Forwarded-For")) == 0
}
