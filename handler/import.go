package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"sluice/internal/importer"
)

type importCommand struct {
	Files        []string `arg:"" name:"file" help:"CSV or NDJSON files, also compressed with gzip; - is standard input."`
	URL          string   `default:"http://127.0.0.1:8080" placeholder:"URL" help:"The service to send to (${default})."`
	credential   `embed:""`
	Store        bool          `help:"Write straight into the store of SLUICE_TABLES or SLUICE_DATA, without a service."`
	Format       string        `placeholder:"FORMAT" help:"csv or ndjson; left out, the name and the first byte tell."`
	Device       string        `placeholder:"ID" help:"The device of all readings."`
	DeviceColumn string        `placeholder:"NAME" help:"CSV: the column with the device's id (left out: deviceId, device_id or device)."`
	TimeColumn   string        `placeholder:"NAME" help:"CSV: the column with the time (left out: timestamp, ts or time). Times without a zone are UTC."`
	Metric       []string      `sep:"none" placeholder:"COLUMN=METRIC" help:"CSV: a column that is a metric, and its name; may be repeated (left out: all other columns)."`
	Text         []string      `sep:"none" placeholder:"COLUMN" help:"CSV: a column whose values stay strings, such as 007; may be repeated."`
	Delimiter    string        `placeholder:"CHAR" help:"CSV: what stands between two columns (,)."`
	Batch        int           `default:"1000" help:"Readings a request (${default})."`
	Concurrency  int           `default:"4" help:"Requests at a time (${default}); each device's readings are sent in order."`
	FromLine     int           `placeholder:"N" help:"Leave out what stands before this line."`
	Resume       string        `placeholder:"FILE" help:"Remember in FILE how far it is, and go on there."`
	GiveUp       time.Duration `default:"10m" help:"How long a request is tried again (${default})."`
}

// Run imports; rejected readings make the exit code 1.
func (c *importCommand) Run(w *world, code *int) error {
	delimiter, err := oneRune(c.Delimiter)
	if err != nil {
		return err
	}
	token, err := c.token(w)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(w.ctx)
	defer cancel(nil)
	client := &http.Client{
		Timeout:   2 * time.Minute,
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: c.Concurrency},
	}
	closeStore := func() error { return nil }
	if c.Store {
		store, err := openStraight(w, cancel)
		if err != nil {
			return err
		}
		client, c.URL, closeStore = store.client(), "http://store", store.close
	}
	summary, err := importer.Run(ctx, importer.Config{
		Files: c.Files, Format: c.Format, URL: c.URL,
		Mapping: importer.Mapping{
			Device: c.Device, DeviceColumn: c.DeviceColumn, TimeColumn: c.TimeColumn,
			Metrics: c.Metric, Text: c.Text, Delimiter: delimiter,
		},
		Batch: c.Batch, Concurrency: c.Concurrency, FromLine: c.FromLine, Resume: c.Resume, GiveUp: c.GiveUp,
		Stdin: w.stdin, Stderr: w.stderr,
		Client: client, Token: token,
	})
	if w.ctx.Err() == nil && ctx.Err() != nil { // the store could not be opened
		err = context.Cause(ctx)
	}
	err = errors.Join(err, closeStore())
	printSummary(w, summary)
	if err == nil && summary.Rejected > 0 {
		*code = exitFailed
	}
	return err
}

func printSummary(w *world, s importer.Summary) {
	rate := float64(s.Accepted+s.Rejected) / max(s.Took.Seconds(), 1e-9)
	fmt.Fprintf(w.stdout, "accepted %d, rejected %d, in %v (%.0f/s)\n", s.Accepted, s.Rejected, s.Took.Round(time.Millisecond), rate)
	if s.Blank > 0 {
		fmt.Fprintf(w.stdout, "left out: %d rows without a value\n", s.Blank)
	}
	if s.Missing > 0 {
		fmt.Fprintf(w.stdout, "left out: %d values that are NaN, infinite or null\n", s.Missing)
	}
	for _, reason := range s.Reasons {
		fmt.Fprintln(w.stdout, "  "+reason)
	}
	if more := s.Rejected - int64(len(s.Reasons)); more > 0 && len(s.Reasons) > 0 {
		fmt.Fprintf(w.stdout, "  and %d more\n", more)
	}
}

func oneRune(s string) (rune, error) {
	if s == "" || s == `\t` {
		return map[string]rune{`\t`: '\t'}[s], nil
	}
	r, size := utf8.DecodeRuneInString(s)
	if size != len(s) || r == utf8.RuneError || r == '"' || r == '\r' || r == '\n' {
		return 0, fmt.Errorf("%w: --delimiter %q: takes one character, such as ; or \\t", importer.ErrConfig, s)
	}
	return r, nil
}
