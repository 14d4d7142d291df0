// Package importer sends files of readings to a service: CSV with a mapping of
// its columns, and NDJSON. It streams, so that files may be of any size, sends
// each device's readings in the order of the file, tries again what was not
// taken, and can go on where it was stopped.
package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// Config says what to import, how to read it and where to send it.
type Config struct {
	// Files are paths; "-" is Stdin. Compressed files (gzip) are told by their
	// first bytes.
	Files []string
	// Format is "csv" or "ndjson"; "" tells by the name and the first byte.
	Format  string
	Mapping Mapping
	// URL is the service's, without a path.
	URL string
	// Batch is the readings a request, Concurrency the requests at a time.
	Batch, Concurrency int
	// FromLine leaves out the lines before it (counted from 1). It is for one
	// file.
	FromLine int
	// Resume is a file that remembers how far each file is; "" for none.
	Resume string
	// GiveUp is how long a request is tried again before the import fails.
	GiveUp time.Duration

	Stdin  io.Reader
	Stderr io.Writer // progress
	Client *http.Client
	Token  string // shown to the service; "": none
}

// maxReasons is how many rejected lines a Summary names.
const maxReasons = 10

// Summary is what came of an import.
type Summary struct {
	Accepted, Rejected int64
	// Blank are rows without a value, and Missing values that are no numbers (NaN,
	// infinite, null): both are left out.
	Blank, Missing int64
	Reasons        []string // of the first rejected lines
	Took           time.Duration
}

// ErrConfig says that a Config is not one that can be done.
var ErrConfig = errors.New("wrong argument")

// Run imports until all files are done, ctx ends, or the service refuses for
// good. The error says why it ended early, and how to go on; rejected readings
// are no error but counted.
func Run(ctx context.Context, c Config) (Summary, error) {
	began := time.Now()
	t := &tally{}
	err := c.check()
	if err == nil {
		err = run(ctx, c, t)
	}
	s := t.summary()
	s.Took = time.Since(began)
	return s, err
}

func (c Config) check() error {
	switch {
	case len(c.Files) == 0:
		return fmt.Errorf("%w: no file named; - is standard input", ErrConfig)
	case c.Format != "" && c.Format != "csv" && c.Format != "ndjson":
		return fmt.Errorf("%w: format %q: takes csv or ndjson", ErrConfig, c.Format)
	case c.Batch < 1 || c.Batch > 100000:
		return fmt.Errorf("%w: batch %d: takes 1 to 100000", ErrConfig, c.Batch)
	case c.Concurrency < 1 || c.Concurrency > 64:
		return fmt.Errorf("%w: concurrency %d: takes 1 to 64", ErrConfig, c.Concurrency)
	case c.FromLine > 1 && (len(c.Files) > 1 || c.Resume != ""):
		return fmt.Errorf("%w: from-line is for one file, and not together with resume", ErrConfig)
	}
	return nil
}

func run(ctx context.Context, c Config, t *tally) error {
	s, err := newSender(c.URL, c.Mapping.Device, c.Client, c.GiveUp)
	if err != nil {
		return err
	}
	s.token = c.Token
	if err := s.ping(ctx); err != nil {
		return err
	}
	state, err := loadState(c.Resume)
	if err != nil {
		return err
	}
	p := newProgress(c.Stderr, t, c.Files)
	s.waiting = p.note
	defer p.stop()
	for _, name := range c.Files {
		if err := importFile(ctx, c, name, s, t, p, state); err != nil {
			return err
		}
	}
	return nil
}

func importFile(ctx context.Context, c Config, name string, s *sender, t *tally, p *progress, st *state) (err error) {
	from, err := st.begin(name)
	if errors.Is(err, errDone) {
		p.say(name + ": done before, see " + c.Resume)
		return nil
	}
	if err != nil {
		return err
	}
	in, err := openInput(name, c.Stdin)
	if err != nil {
		return err
	}
	defer in.Close()
	p.begin(name, in)
	src, err := newSource(in, name, c)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	d := newDispatch(ctx, s, t, name, c)
	save := func() error { return st.save(name, d.reached(), false) }
	p.onTick(save)
	err = d.feed(src, max(from, c.FromLine))
	p.onTick(nil)
	if err == nil {
		return st.save(name, 0, true)
	}
	if saveErr := save(); saveErr != nil {
		err = errors.Join(err, saveErr)
	}
	return fmt.Errorf("%s: %w; everything before line %d is done: %s", name, err, d.reached(), c.howToGoOn(d.reached()))
}

func (c Config) howToGoOn(line int) string {
	if c.Resume != "" {
		return "the same command goes on there"
	}
	if len(c.Files) > 1 {
		return fmt.Sprintf("go on with --from-line %d for this file, then the files after it", line)
	}
	return fmt.Sprintf("go on with --from-line %d", line)
}

// interrupted says that a person stopped the import.
var errInterrupted = errors.New("stopped")

// isTerminal says whether lines may be written over.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
