package query

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/labstack/echo/v4"
)

// The types of answers.
const (
	typeJSON   = echo.MIMEApplicationJSON
	typeNDJSON = "application/x-ndjson"
	typeCSV    = "text/csv; charset=utf-8"
)

// How long an answer may be kept by who asked.
const (
	cacheFinal = "private, max-age=60"
	cacheNone  = "no-cache"
)

// etag is the tag of content. It is weak: what else an answer says (the range
// of aggregates, say) may differ.
func etag(content []byte) string {
	return `W/"` + strconv.FormatUint(xxhash.Sum64(content), 16) + `"`
}

// respond sends a whole answer, or 304 if the client has one of the same tag.
func respond(c echo.Context, contentType, tag, cache string, body []byte) error {
	header := c.Response().Header()
	header.Set("ETag", tag)
	header.Set(echo.HeaderCacheControl, cache)
	if matches(c.Request().Header.Values("If-None-Match"), tag) {
		return c.NoContent(http.StatusNotModified)
	}
	if c.Request().Method == http.MethodHead {
		header.Set(echo.HeaderContentType, contentType)
		header.Set(echo.HeaderContentLength, strconv.Itoa(len(body)))
		return c.NoContent(http.StatusOK)
	}
	return c.Blob(http.StatusOK, contentType, body)
}

// matches compares weakly, as If-None-Match does (RFC 9110 section 13.1.2). Our
// tags have no commas.
func matches(lines []string, tag string) bool {
	tag = strings.TrimPrefix(tag, "W/")
	for _, line := range lines {
		for item := range strings.SplitSeq(line, ",") {
			item = strings.TrimSpace(item)
			if item == "*" || strings.TrimPrefix(item, "W/") == tag {
				return true
			}
		}
	}
	return false
}
