package deadletters

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/internal/httperr"
	"sluice/telemetry"
)

// answerWithin bounds how long an answer takes.
const answerWithin = 30 * time.Second

// The bounds of a page.
const (
	maxLimit     = 10_000
	defaultLimit = 1_000
)

// API is the HTTP side of the dead letters. It may be used concurrently.
type API struct {
	store    *Store
	replayer Replayer
}

// NewAPI makes the HTTP side of a store; replayer judges letters again.
func NewAPI(store *Store, replayer Replayer) *API { return &API{store, replayer} }

// Register adds the routes. Errors are left to the server's error handler
// (httperr.Handler). All of them may be called again: a host delivers calls without
// a body several times.
func (a *API) Register(e *echo.Echo) {
	const all, one = "/api/v1/deadletters", "/api/v1/deadletters/:id"
	e.GET(all, a.list)
	e.HEAD(all, a.list)
	e.GET(one, a.show)
	e.HEAD(one, a.show)
	e.DELETE(one, a.drop)
	e.POST(one+"/replay", a.replay)
}

// letterJSON is a letter as the list has it.
type letterJSON struct {
	ID       string     `json:"id"`
	Reason   reasonJSON `json:"reason"`
	Received string     `json:"receivedAt"`
	Source   sourceJSON `json:"source"`
	Size     int        `json:"size"`
}

type reasonJSON struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

type sourceJSON struct {
	Partition string `json:"partition"`
	Sequence  int64  `json:"sequenceNumber"`
	Enqueued  string `json:"enqueuedAt"`
}

func letterOf(l *Letter) letterJSON {
	return letterJSON{
		ID: l.ID, Reason: reasonJSON{string(l.Reason.Code), l.Reason.Message}, Received: timeText(l.Received),
		Source: sourceJSON{l.Source.Partition, l.Source.Sequence, timeText(l.Source.Enqueued)}, Size: l.Size,
	}
}

// timeText is RFC 3339 in UTC, for any time.
func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// pageJSON is the answer of the list.
type pageJSON struct {
	Letters []letterJSON `json:"deadletters"`
	Next    *string      `json:"next"`
}

// list is GET /api/v1/deadletters.
func (a *API) list(c echo.Context) error {
	params, err := parseParams(c, "limit", "cursor")
	if err != nil {
		return err
	}
	limit, err := parseLimit(params["limit"])
	if err != nil {
		return err
	}
	ctx, cancel := within(c)
	defer cancel()
	letters, next, err := a.store.List(ctx, limit, params["cursor"])
	if err != nil {
		return explain(err, "")
	}
	page := pageJSON{Letters: make([]letterJSON, len(letters))}
	for i := range letters {
		page.Letters[i] = letterOf(&letters[i])
	}
	if next != "" {
		page.Next = &next
	}
	return answer(c, page)
}

// letterWithBody is a letter alone.
type letterWithBody struct {
	letterJSON
	Rejected        int    `json:"rejected"`
	Hub             string `json:"hub,omitempty"`
	Device          string `json:"deviceId,omitempty"`
	PartitionKey    string `json:"partitionKey,omitempty"`
	ContentType     string `json:"contentType,omitempty"`
	ContentEncoding string `json:"contentEncoding,omitempty"`
	Body            []byte `json:"body"` // base64
}

// show is GET /api/v1/deadletters/{id}.
func (a *API) show(c echo.Context) error {
	if _, err := parseParams(c); err != nil {
		return err
	}
	ctx, cancel := within(c)
	defer cancel()
	l, err := a.store.Get(ctx, c.Param("id"))
	if err != nil {
		return explain(err, c.Param("id"))
	}
	return answer(c, letterWithBody{
		letterJSON: letterOf(&l), Rejected: l.Rejected, Hub: l.Source.Hub, Device: l.Device, PartitionKey: l.PartitionKey,
		ContentType: l.ContentType, ContentEncoding: l.ContentEncoding, Body: slices.Concat([]byte{}, l.Body),
	})
}

// drop is DELETE /api/v1/deadletters/{id}: 204 also for one that is done.
func (a *API) drop(c echo.Context) error {
	if _, err := parseParams(c); err != nil {
		return err
	}
	ctx, cancel := within(c)
	defer cancel()
	if err := a.store.Drop(ctx, c.Param("id")); err != nil {
		return explain(err, c.Param("id"))
	}
	return c.NoContent(http.StatusNoContent)
}

// verdictsJSON is what became of readings, as ingest says it.
type verdictsJSON struct {
	Accepted int           `json:"accepted"`
	Rejected int           `json:"rejected"`
	Errors   []verdictJSON `json:"errors"`
}

type verdictJSON struct {
	Index     int    `json:"index"`
	Code      string `json:"code"`
	Message   string `json:"message"`
	Retryable bool   `json:"retryable"`
}

// replay is POST /api/v1/deadletters/{id}/replay: 200 whatever the verdicts are.
func (a *API) replay(c echo.Context) error {
	if _, err := parseParams(c); err != nil {
		return err
	}
	ctx, cancel := within(c)
	defer cancel()
	v, err := a.store.Replay(ctx, a.replayer, c.Param("id"))
	if err != nil {
		return explain(err, c.Param("id"))
	}
	return answer(c, verdictsOf(v))
}

// verdictsOf says what ingest would; an event that is refused as a whole counts as
// one reading.
func verdictsOf(v Verdicts) verdictsJSON {
	if v.Reason != nil && len(v.Errors) == 0 {
		v.Rejected, v.Errors = max(v.Rejected, 1), []Verdict{{Refusal: *v.Reason}}
	}
	out := verdictsJSON{Accepted: v.Accepted, Rejected: v.Rejected, Errors: []verdictJSON{}}
	for _, e := range v.Errors {
		out.Errors = append(out.Errors, verdictJSON{e.Index, string(e.Refusal.Code), e.Refusal.Message, e.Refusal.Code.Retryable()})
	}
	return out
}

func within(c echo.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.Request().Context(), answerWithin)
}

func answer(c echo.Context, body any) error {
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	return c.JSON(http.StatusOK, body)
}

// explain makes an answer of an error.
func explain(err error, id string) error {
	switch {
	case errors.Is(err, ErrUnknown):
		return httperr.New(httperr.UnknownLetter, "no dead letter %s: it was replayed or dropped, its 30 days are over, or there never was one", telemetry.Quote(id))
	case errors.Is(err, ErrCursor):
		return httperr.New(httperr.InvalidCursor, "the cursor is damaged: take next as it is")
	case errors.Is(err, ErrCut):
		return httperr.New(httperr.LetterCut, "of the event of dead letter %s not all is kept (%d bytes of its body, %d of its content type and encoding), so it cannot be replayed: drop it", telemetry.Quote(id), MaxBody, maxText)
	}
	return err
}

// parseParams reads the query string; an empty parameter counts as not given.
func parseParams(c echo.Context, known ...string) (map[string]string, error) {
	values, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil {
		return nil, httperr.New(httperr.InvalidParameter, "the query string is not well-formed: %v", err)
	}
	params := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(known, name) {
			return nil, httperr.New(httperr.InvalidParameter, "unknown parameter %s: this route takes %s", telemetry.Quote(name), takes(known))
		}
		given := slices.DeleteFunc(values[name], func(v string) bool { return v == "" })
		if len(slices.Compact(given)) > 1 {
			return nil, httperr.New(httperr.InvalidParameter, "%s is given twice: once is right", name)
		}
		params[name] = strings.Join(given[:min(len(given), 1)], "")
	}
	return params, nil
}

func takes(known []string) string {
	if len(known) == 0 {
		return "none"
	}
	return strings.Join(known, ", ")
}

func parseLimit(text string) (int, error) {
	if text == "" {
		return defaultLimit, nil
	}
	limit, err := strconv.Atoi(text)
	if err != nil || limit < 1 || limit > maxLimit {
		return 0, httperr.New(httperr.InvalidParameter, "limit=%s: a whole number from 1 to %d would be right", telemetry.Quote(text), maxLimit)
	}
	return limit, nil
}
