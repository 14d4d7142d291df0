package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// letter is a dead letter as the service tells of it.
type letter struct {
	ID       string       `json:"id"`
	Reason   letterReason `json:"reason"`
	Received string       `json:"receivedAt"`
	Source   struct {
		Partition string `json:"partition"`
		Sequence  int64  `json:"sequenceNumber"`
		Enqueued  string `json:"enqueuedAt"`
	} `json:"source"`
	Size int `json:"size"`

	// Of one alone.
	Rejected        int    `json:"rejected"`
	Hub             string `json:"hub"`
	Device          string `json:"deviceId"`
	PartitionKey    string `json:"partitionKey"`
	ContentType     string `json:"contentType"`
	ContentEncoding string `json:"contentEncoding"`
	Body            []byte `json:"body"`
}

type letterReason struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (r letterReason) String() string { return plain(r.Code + ": " + r.Message) }

// letterVerdicts is what became of a letter's readings.
type letterVerdicts struct {
	Accepted int            `json:"accepted"`
	Rejected int            `json:"rejected"`
	Errors   []letterReason `json:"errors"`
}

// first is the first reason.
func (v letterVerdicts) first() string {
	if len(v.Errors) == 0 {
		return "the service does not say why"
	}
	return v.Errors[0].String()
}

// lettersError is what the service says of one letter, or of what it was asked.
type lettersError struct {
	status int
	reason letterReason
}

func (e *lettersError) Error() string {
	if e.reason.Code == "" {
		return "the service answers " + strconv.Itoa(e.status)
	}
	return e.reason.String()
}

func (e *lettersError) unknown() bool { return e.reason.Code == "unknown_dead_letter" }

const (
	lettersPage      = 1000
	lettersMaxAnswer = 64 << 20
	// lettersTries is how often a request is sent that the service fails at without
	// asking to come again: another letter may fare better.
	lettersTries    = 3
	lettersMaxPause = 10 * time.Second
)

var (
	// errEnough ends each.
	errEnough = errors.New("enough")
	// errLettersStopped says that a person stopped the command.
	errLettersStopped = errors.New("stopped: the same command goes on with what is left")
)

// lettersClient asks a service.
type lettersClient struct {
	http   *http.Client
	token  string // "": none
	base   string
	giveUp time.Duration
	note   func(string)
}

func (s *lettersService) client(w *world) (*lettersClient, error) {
	u, err := url.Parse(s.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, &settingError{"--url", fmt.Errorf("%q: takes one such as http://127.0.0.1:8080", s.URL)}
	}
	token, err := s.token(w)
	if err != nil {
		return nil, err
	}
	return &lettersClient{
		token: token, http: &http.Client{Timeout: time.Minute}, base: strings.TrimSuffix(s.URL, "/") + "/api/v1/deadletters", giveUp: s.GiveUp,
		note: func(text string) { fmt.Fprintln(w.stderr, text) },
	}, nil
}

// each yields the letters, newest first, that have a reason ("": all), until yield
// returns an error; errEnough is none.
func (c *lettersClient) each(ctx context.Context, reason string, yield func(letter) error) error {
	for cursor, first := "", true; first || cursor != ""; first = false {
		var page struct {
			Letters []letter `json:"deadletters"`
			Next    *string  `json:"next"`
		}
		query := url.Values{"limit": {strconv.Itoa(lettersPage)}, "cursor": {cursor}}
		if err := c.ask(ctx, http.MethodGet, "?"+query.Encode(), &page); err != nil {
			return err
		}
		for _, l := range page.Letters {
			if reason != "" && l.Reason.Code != reason {
				continue
			}
			if err := yield(l); err != nil {
				if errors.Is(err, errEnough) {
					return nil
				}
				return err
			}
		}
		before := cursor
		if cursor = ""; page.Next != nil {
			cursor = *page.Next
		}
		if cursor != "" && cursor == before {
			return errors.New("the service gives the same page again and again")
		}
	}
	return nil
}

func (c *lettersClient) show(ctx context.Context, id string) (l letter, err error) {
	err = c.ask(ctx, http.MethodGet, "/"+url.PathEscape(id), &l)
	return l, err
}

func (c *lettersClient) replay(ctx context.Context, id string) (v letterVerdicts, err error) {
	err = c.ask(ctx, http.MethodPost, "/"+url.PathEscape(id)+"/replay", &v)
	return v, err
}

func (c *lettersClient) drop(ctx context.Context, id string) error {
	return c.ask(ctx, http.MethodDelete, "/"+url.PathEscape(id), nil)
}

// ask sends a request, again while the service or the way to it is at fault: all of
// them may be sent again. A *lettersError for what the service refuses.
func (c *lettersClient) ask(ctx context.Context, method, target string, into any) error {
	deadline := time.Now().Add(c.giveUp)
	for try := 1; ; try++ {
		after, err := c.send(ctx, method, target, into)
		var answer *lettersError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return errLettersStopped
		case errors.As(err, &answer) && (answer.status < 500 && answer.status != http.StatusTooManyRequests || after == 0 && try >= lettersTries):
			return err
		}
		pause := max(after, min(100*time.Millisecond<<min(try, 10), lettersMaxPause))
		if time.Now().Add(pause).After(deadline) {
			return fmt.Errorf("given up after %v: %s", c.giveUp, err.Error())
		}
		c.note(fmt.Sprintf("waiting %v: %v", pause, err))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return errLettersStopped
		}
	}
}

// send sends a request once; after is when the service asks to come again.
func (c *lettersClient) send(ctx context.Context, method, target string, into any) (after time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, method, c.base+target, nil)
	if err != nil {
		return 0, err
	}
	if c.token != "" { // of the request, so that it does not follow a redirect to another host
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, lettersMaxAnswer))
	if err != nil {
		return 0, err
	}
	if answer.StatusCode/100 != 2 {
		var refused struct{ Error letterReason }
		_ = json.Unmarshal(text, &refused)
		seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
		return time.Duration(min(max(seconds, 0), 3600)) * time.Second, &lettersError{answer.StatusCode, refused.Error}
	}
	if into == nil {
		return 0, nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return 0, &lettersError{answer.StatusCode, letterReason{"invalid_answer", "that is no answer of a Sluice service: " + err.Error()}}
	}
	return 0, nil
}
