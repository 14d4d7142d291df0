package host

import (
	"context"
	"fmt"
	"time"
)

// startTimers fires every timer of the app from now on.
func (h *Host) startTimers() {
	for _, f := range h.app.functions {
		if f.kind == "timerTrigger" && f.err == nil && !f.disabled {
			go h.fire(f)
		}
	}
}

// fire runs a timer until the host ends. Runs never overlap; one whose time
// comes while another is under way starts when that has ended, several of them
// as one.
func (h *Host) fire(f *function) {
	if f.binding.RunOnStartup {
		_ = h.runTimer(h.timers, f, nil)
	}
	next := f.schedule.next(time.Now())
	for {
		timer := time.NewTimer(time.Until(next))
		select {
		case <-timer.C:
		case <-h.timers.Done():
			timer.Stop()
			return
		}
		_ = h.runTimer(h.timers, f, nil) // trigger has logged what went wrong
		next = f.schedule.after(next, time.Now())
	}
}

// after is when a timer fires that was planned for one time and has ended now:
// at once if a planned time has passed meanwhile.
func (s *schedule) after(planned, now time.Time) time.Time {
	next := s.next(planned)
	if next.Before(now) {
		return now
	}
	return next
}

// runTimer runs a timer's function when no other run of it is under way.
func (h *Host) runTimer(ctx context.Context, f *function, p *payload) error {
	token := h.runs[f.name]
	select {
	case token <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-h.timers.Done():
		return errClosing
	}
	defer func() { <-token }()
	if p == nil {
		p = &payload{data: object{{f.binding.Name, timerInfo(nil)}}}
	}
	return h.trigger(ctx, f, *p, nil)
}

func timerInfo(status any) object {
	return object{{"Schedule", object{{"AdjustForDST", true}}}, {"ScheduleStatus", status}, {"IsPastDue", false}}
}

// timerTime is how the host writes the times of a schedule's state.
const timerTime = "2006-01-02T15:04:05.9999999-07:00"

// byHand is the payload of a timer that is started through the admin API.
// Recorded.
func byHand(f *function, now time.Time) *payload {
	status := object{
		{"Last", "0001-01-01T00:00:00+00:00"}, {"Next", f.schedule.next(now).UTC().Format(timerTime)}, {"LastUpdated", now.UTC().Format(timerTime)},
	}
	return &payload{data: object{{f.binding.Name, timerInfo(status)}}, metadata: object{{f.binding.Name, `""`}}}
}

// Trigger starts a timer's function by hand and waits for its end, at first
// for that of a run under way. It fails with ErrFunction or ErrInvocation. A run
// that has begun goes on when ctx ends, and is waited for.
func (h *Host) Trigger(ctx context.Context, name string) error {
	f, err := h.running(name, "timerTrigger")
	if err != nil {
		return err
	}
	if err := h.runTimer(ctx, f, byHand(f, time.Now())); err != nil {
		return fmt.Errorf("trigger %s: %w", name, err)
	}
	return nil
}
