package importer

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progress says every now and then how far the import is: on a terminal in one
// line that is written over, else in plain lines, fewer of them.
type progress struct {
	out      io.Writer
	tally    *tally
	terminal bool
	files    int
	began    time.Time
	done     chan struct{}
	stopped  sync.WaitGroup

	mu    sync.Mutex
	name  string
	index int
	in    *input
	since time.Time
	tick  func() error
	last  string
	noted time.Time
}

func newProgress(out io.Writer, t *tally, files []string) *progress {
	p := &progress{out: out, tally: t, terminal: isTerminal(out), files: len(files), began: time.Now(), done: make(chan struct{})}
	every := 10 * time.Second
	if p.terminal {
		every = time.Second
	}
	p.stopped.Go(func() { p.run(every) })
	return p
}

func (p *progress) begin(name string, in *input) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name, p.in, p.since = name, in, time.Now()
	p.index++
}

// onTick has f called every second or so (nil: nothing), to save how far it is.
func (p *progress) onTick(f func() error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tick = f
}

// note says something out of turn, at most once a second.
func (p *progress) note(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.noted) < time.Second {
		return
	}
	p.noted = time.Now()
	p.print(s, true)
}

// say says something that must not be missed.
func (p *progress) say(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.print(s, true)
}

func (p *progress) stop() {
	close(p.done)
	p.stopped.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal && p.last != "" {
		p.print("", false)
	}
}

func (p *progress) run(every time.Duration) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for shown := time.Now(); ; {
		select {
		case <-p.done:
			return
		case now := <-ticker.C:
			p.save()
			if now.Sub(shown) >= every-every/20 {
				shown = now
				p.show()
			}
		}
	}
}

func (p *progress) save() {
	p.mu.Lock()
	tick := p.tick
	p.mu.Unlock()
	if tick == nil {
		return
	}
	if err := tick(); err != nil {
		p.note("cannot remember how far it is: " + err.Error())
	}
}

func (p *progress) show() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.in == nil {
		return
	}
	done := p.tally.done()
	line := fmt.Sprintf("%s: %d readings, %.0f/s", p.name, done, float64(done)/time.Since(p.began).Seconds())
	if p.files > 1 {
		line = fmt.Sprintf("(%d of %d) %s", p.index, p.files, line)
	}
	if rejected := p.tally.rejected.Load(); rejected > 0 {
		line += fmt.Sprintf(", %d rejected", rejected)
	}
	p.print(line+left(p.in, time.Since(p.since)), !p.terminal)
}

// left says how much of a file is read and how long the rest takes.
func left(in *input, took time.Duration) string {
	read := in.read()
	if in.size == 0 || read == 0 {
		return ""
	}
	share := min(float64(read)/float64(in.size), 1)
	rest := time.Duration(float64(took) * (1 - share) / share)
	return fmt.Sprintf(", %.0f%%, %v left", share*100, rest.Round(time.Second))
}

func (p *progress) print(line string, keep bool) {
	if p.terminal {
		pad := max(len(p.last)-len(line), 0)
		fmt.Fprintf(p.out, "\r%s%s", line, strings.Repeat(" ", pad))
		p.last = line
	}
	switch {
	case p.terminal && keep:
		fmt.Fprintln(p.out)
		p.last = ""
	case p.terminal && line == "":
		fmt.Fprint(p.out, "\r")
	case !p.terminal:
		fmt.Fprintln(p.out, line)
	}
}
