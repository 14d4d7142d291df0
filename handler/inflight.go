package main

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/internal/httperr"
	"sluice/internal/settings"
)

// inflight bounds the requests under way by what they take: an answer by what
// one usually is, as answers are bounded each by itself. Bodies are counted by
// who decodes them, as they come (ingest.Config.DecodeBytes): counted by what
// their headers promise, a few connections that promise much and send nothing
// would keep everybody out.
type inflight struct {
	most     int64
	used     atomic.Int64
	pressure *pressure
	refused  atomic.Int64 // requests
}

const (
	usual       = 4 << 10   // of a request besides
	usualAnswer = 256 << 10 // of a query
)

func newInflight(s settings.Settings) *inflight {
	return &inflight{most: int64(s.MaxInflight), pressure: newPressure(s)}
}

// limit refuses requests while there is no room. A request that is larger than
// all there is gets in alone.
func (f *inflight) limit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		size := sizeOf(c.Request())
		defer f.used.Add(-size)
		used := f.used.Add(size)
		if used > f.most && used > size || !tellsOfItself(c.Request()) && f.pressure.tooHigh() {
			f.refused.Add(1)
			return httperr.Retry(httperr.Overloaded, time.Second, nil, "too many requests are under way: try again")
		}
		return next(c)
	}
}

// tellsOfItself says whether a request asks how the process is, which somebody wants
// to know just when memory is short.
func tellsOfItself(r *http.Request) bool { return isProbe(r.URL.Path) || r.URL.Path == statusPath }

func sizeOf(r *http.Request) int64 {
	if r.Method == http.MethodGet && !tellsOfItself(r) {
		return usualAnswer
	}
	return usual
}
