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
	most int64
	used atomic.Int64
}

const (
	usual       = 4 << 10   // of a request besides
	usualAnswer = 256 << 10 // of a query
)

func newInflight(s settings.Settings) *inflight {
	return &inflight{most: int64(s.MaxInflight)}
}

// limit refuses requests while there is no room. A request that is larger than
// all there is gets in alone.
func (f *inflight) limit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		size := sizeOf(c.Request())
		defer f.used.Add(-size)
		if used := f.used.Add(size); used > f.most && used > size {
			return httperr.Retry(httperr.Overloaded, time.Second, nil, "too many requests are under way: try again")
		}
		return next(c)
	}
}

func sizeOf(r *http.Request) int64 {
	if r.Method == http.MethodGet && !isProbe(r.URL.Path) {
		return usualAnswer
	}
	return usual
}
