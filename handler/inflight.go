package main

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/internal/httperr"
	"sluice/internal/settings"
)

// inflight bounds the bytes of bodies and answers under way. What a request
// will take is told before anything of it is read: its body by the header,
// decompressed at worst; its answer by what one usually is, as answers are
// bounded each by itself.
type inflight struct {
	most                int64
	used                atomic.Int64
	maxBody, maxDecoded int64
}

const (
	leastBody   = 4 << 10   // what a request takes besides
	usualAnswer = 256 << 10 // of a query
)

func newInflight(s settings.Settings) *inflight {
	return &inflight{most: int64(s.MaxInflight), maxBody: int64(s.MaxBody), maxDecoded: int64(s.MaxDecoded)}
}

// limit refuses requests while there is no room. A request that is larger than
// all there is gets in alone.
func (f *inflight) limit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		size := f.size(c.Request())
		defer f.used.Add(-size)
		if used := f.used.Add(size); used > f.most && used > size {
			return httperr.Retry(httperr.Overloaded, time.Second, nil, "too many requests are under way: try again")
		}
		return next(c)
	}
}

func (f *inflight) size(r *http.Request) int64 {
	switch {
	case r.Body == http.NoBody && r.Method == http.MethodGet && !isProbe(r.URL.Path):
		return usualAnswer
	case r.Body == http.NoBody:
		return leastBody
	case r.ContentLength > f.maxBody:
		return leastBody // refused before it is read
	case r.ContentLength < 0 || r.Header.Get(echo.HeaderContentEncoding) != "":
		return f.maxDecoded
	default:
		return leastBody + r.ContentLength
	}
}
