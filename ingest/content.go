package ingest

import (
	"io"
	"mime"
	"strings"

	"sluice/internal/httperr"
	"sluice/telemetry/wire"
)

// parser decodes one format, see package wire.
type parser func(io.Reader, wire.Options) (*wire.Batch, error)

// format finds the parser of a Content-Type. None and the form type that curl
// sends unasked say nothing: the first byte tells, and all formats that have no
// type of their own are JSON.
func format(contentType string) (parser, error) {
	if strings.TrimSpace(contentType) == "" {
		return wire.JSON, nil
	}
	kind, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, unsupported(contentType)
	}
	if charset := strings.ToLower(parameters["charset"]); charset != "" && charset != "utf-8" && charset != "us-ascii" {
		return nil, httperr.New(httperr.UnsupportedType, "charset %.40q: send UTF-8", charset)
	}
	switch kind {
	case "application/json", "application/x-www-form-urlencoded":
		return wire.JSON, nil
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines":
		return wire.NDJSON, nil
	default:
		return nil, unsupported(contentType)
	}
}

func unsupported(contentType string) error {
	return httperr.New(httperr.UnsupportedType,
		"Content-Type %.80q: send application/json (a message or an array) or application/x-ndjson (a message a line)", contentType)
}

// joinHeader makes one list of a header's lines, as RFC 9110 section 5.3 says.
func joinHeader(lines []string) string { return strings.Join(lines, ",") }
