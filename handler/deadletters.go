package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// lettersCommand works on the dead letters of a service.
type lettersCommand struct {
	List   lettersList   `cmd:"" help:"List dead letters, the newest first."`
	Show   lettersShow   `cmd:"" help:"Show one, or write its body."`
	Replay lettersReplay `cmd:"" help:"Have them judged again: those of which nothing is refused any more are done, the others stay."`
	Drop   lettersDrop   `cmd:"" help:"Give them up."`
}

// lettersService is the service that a command asks.
type lettersService struct {
	URL string `default:"http://127.0.0.1:8080" placeholder:"URL" help:"The service (${default})."`
	credential
	GiveUp time.Duration `default:"1m" help:"How long a request is tried again (${default})."`
}

type lettersList struct {
	lettersService
	Limit  int    `default:"100" help:"How many at most (${default}); 0: all."`
	Reason string `placeholder:"CODE" help:"Only those that were refused with this code."`
}

type lettersShow struct {
	lettersService
	ID   string `arg:"" help:"The letter's id."`
	Body bool   `help:"Write its body as it came, and nothing else."`
}

// lettersChosen says which letters to work on.
type lettersChosen struct {
	lettersService
	IDs    []string `arg:"" optional:"" name:"id" help:"The letters' ids."`
	All    bool     `help:"All there are."`
	Reason string   `placeholder:"CODE" help:"With --all: those that were refused with this code."`
}

type lettersReplay struct{ lettersChosen }

type lettersDrop struct{ lettersChosen }

// Run lists.
func (c *lettersList) Run(w *world) error {
	client, err := c.client(w)
	if err != nil {
		return err
	}
	if c.Limit < 0 {
		return &settingError{"--limit", fmt.Errorf("%d: takes a number, 0 for all", c.Limit)}
	}
	table := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tENQUEUED\tPARTITION\tSEQUENCE\tSIZE\tREASON")
	listed, more := 0, false
	err = client.each(w.ctx, c.Reason, func(l letter) error {
		if more = c.Limit > 0 && listed == c.Limit; more {
			return errEnough
		}
		if listed++; listed%1000 == 0 { // columns are as wide as in their page
			if err := table.Flush(); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%s\n", plain(l.ID), plain(l.Source.Enqueued), plain(l.Source.Partition), l.Source.Sequence, l.Size, l.Reason)
		return err
	})
	if err == nil || listed > 0 {
		err = errors.Join(err, table.Flush())
	}
	switch {
	case err != nil:
		return err
	case more:
		fmt.Fprintf(w.stderr, "the newest %d, there are others (--limit 0 lists all)\n", listed)
	default:
		fmt.Fprintf(w.stderr, "%s\n", lettersText(listed))
	}
	return nil
}

// Run shows one.
func (c *lettersShow) Run(w *world) error {
	client, err := c.client(w)
	if err != nil {
		return err
	}
	l, err := client.show(w.ctx, c.ID)
	if err != nil {
		return err
	}
	if c.Body {
		_, err = w.stdout.Write(l.Body)
		return err
	}
	table := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{"id", l.ID}, {"reason", l.Reason.String()}, {"readings refused", known0(l.Rejected)},
		{"received", l.Received}, {"hub", l.Hub}, {"partition", l.Source.Partition}, {"sequence number", fmt.Sprint(l.Source.Sequence)},
		{"enqueued", l.Source.Enqueued}, {"device (IoT Hub)", l.Device}, {"partition key", l.PartitionKey},
		{"content type", l.ContentType}, {"content encoding", l.ContentEncoding}, {"bytes", fmt.Sprint(l.Size)},
	} {
		if line[1] != "" {
			fmt.Fprintf(table, "%s\t%s\n", line[0], plain(line[1]))
		}
	}
	if l.Size > len(l.Body) {
		fmt.Fprintf(table, "bytes kept\t%d\n", len(l.Body))
	}
	fmt.Fprintf(table, "body\t%s\n", preview(l.Body))
	return table.Flush()
}

// known0 leaves out what could not be told.
func known0(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// preview is the beginning of a body, for people.
func preview(body []byte) string {
	const most = 200
	text := fmt.Sprintf("%.*q", most, body[:min(len(body), most)])
	if len(body) > most {
		text += "… (--body writes all of it)"
	}
	return text
}

// Run replays; the exit code is 1 if any letter stays.
func (c *lettersReplay) Run(w *world, code *int) error {
	done := 0
	work, err := c.work(w, "replayed", func(client *lettersClient, id string) (string, error) {
		v, err := client.replay(w.ctx, id)
		if err != nil {
			return "", err
		}
		if v.Rejected > 0 {
			return fmt.Sprintf("stays, %d accepted, %d rejected: %s", v.Accepted, v.Rejected, v.first()), nil
		}
		done++
		return "", nil
	})
	if work == nil {
		return err
	}
	fmt.Fprintf(w.stdout, "replayed %s: %d done, %d stay, %d failed%s\n", lettersText(work.asked), done, work.told, work.failed, work.missing())
	if err == nil && work.told+work.failed > 0 {
		*code = exitFailed
	}
	return err
}

// Run drops.
func (c *lettersDrop) Run(w *world, code *int) error {
	work, err := c.work(w, "dropped", func(client *lettersClient, id string) (string, error) {
		return "", client.drop(w.ctx, id)
	})
	if work == nil {
		return err
	}
	fmt.Fprintf(w.stdout, "dropped %s, %d failed%s\n", lettersText(work.asked-work.failed-work.gone), work.failed, work.missing())
	if err == nil && work.failed > 0 {
		*code = exitFailed
	}
	return err
}

// lettersWork is what was done to letters.
type lettersWork struct {
	asked, told, failed, gone int
	named                     bool // the letters were named, so that one that is not there is a failure
}

func (l *lettersWork) missing() string {
	if l.gone == 0 {
		return ""
	}
	return fmt.Sprintf(", %d are there no more", l.gone)
}

// work does something to each letter that was chosen, one after the other. What do
// has to tell of one is written; nil if the arguments are wrong. Whoever stops it may
// run it again: what is done is no longer there.
func (c *lettersChosen) work(w *world, doing string, do func(*lettersClient, string) (string, error)) (*lettersWork, error) {
	client, err := c.client(w)
	switch {
	case err != nil:
		return nil, err
	case c.All == (len(c.IDs) > 0):
		return nil, &settingError{"deadletters", errors.New("takes ids, or --all")}
	case c.Reason != "" && !c.All:
		return nil, &settingError{"--reason", errors.New("goes with --all")}
	}
	work, said := &lettersWork{named: !c.All}, time.Now()
	one := func(id string) error {
		told, err := do(client, id)
		if time.Since(said) > 5*time.Second {
			said = time.Now()
			fmt.Fprintf(w.stderr, "%s %s so far\n", doing, lettersText(work.asked))
		}
		return work.note(w.stdout, id, told, err)
	}
	if !c.All {
		for _, id := range c.IDs {
			if err := one(id); err != nil {
				return work, err
			}
		}
		return work, nil
	}
	return work, client.each(w.ctx, c.Reason, func(l letter) error { return one(l.ID) })
}

// note counts a letter. An error that others would meet too is returned.
func (l *lettersWork) note(out io.Writer, id, told string, err error) error {
	var answer *lettersError
	switch {
	case err != nil && !errors.As(err, &answer):
		return err
	case err != nil && answer.unknown() && !l.named:
		l.gone++
	case err != nil:
		l.failed++
		told = "fails: " + answer.Error()
	case told != "":
		l.told++
	}
	if l.asked++; told == "" {
		return nil
	}
	_, err = fmt.Fprintf(out, "%s: %s\n", plain(id), plain(told))
	return err
}

// lettersText counts letters.
func lettersText(n int) string {
	if n == 1 {
		return "1 dead letter"
	}
	return fmt.Sprint(n, " dead letters")
}

// plain keeps what a service says from doing anything to a terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || 0x7F <= r && r <= 0x9F {
			return '?'
		}
		return r
	}, s)
}
