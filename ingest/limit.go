package ingest

import (
	"context"
	"iter"
	"net/http"
	"time"

	"sluice/access/limit"
	"sluice/internal/httperr"
	"sluice/telemetry"
	"sluice/telemetry/wire"
)

// charge is what a batch took of its devices' rates, and what they would not
// give. The zero charge is that of a batch that is not limited.
type charge struct {
	rate    *limit.Rate
	tight   limit.State // of the device that has least left
	refused int
}

// rateFor is the rates that hold for a call; nil if none do.
func (in *Ingest) rateFor(ctx context.Context) *limit.Rate {
	if in.cfg.Rate == nil || limit.CallerOf(ctx).Exempt {
		return nil
	}
	return in.cfg.Rate
}

// limitBatch takes the readings of a batch out of their devices' rates, and those
// that are over them out of the batch. Readings of a device that follow each other
// cost one look.
func limitBatch(rate *limit.Rate, b *wire.Batch) charge {
	c := charge{rate: rate}
	if rate == nil {
		return c
	}
	var over []overrun
	for first, end := range runs(b.Readings) {
		device := b.Readings[first].Device
		g := rate.Take(device, end-first)
		c.note(device, g)
		if first += g.Taken; first < end {
			over = append(over, overrun{first: first, end: end})
			c.refused += end - first
		}
	}
	if len(over) > 0 {
		c.explain(b.Readings, over)
		b.Refuse(inTurn(over))
	}
	return c
}

// explain tells each device that has too many readings when all that the body has
// of it would pass, in whatever order they stand: a client may send all of it again.
func (c *charge) explain(readings []telemetry.Reading, over []overrun) {
	all := map[string]int{}
	for _, o := range over {
		all[readings[o.first].Device] = 0
	}
	for first, end := range runs(readings) {
		if n, ok := all[readings[first].Device]; ok {
			all[readings[first].Device] = n + end - first
		}
	}
	refusals := make(map[string]*telemetry.Refusal, len(all))
	for device, n := range all {
		wait := c.rate.Wait(device, n)
		c.tight.Wait = max(c.tight.Wait, wait)
		refusals[device] = c.refusal(device, wait)
	}
	for i := range over {
		over[i].refusal = refusals[readings[over[i].first].Device]
	}
}

// overrun is readings, from first to end of a batch, that a device has too many.
type overrun struct {
	first, end int
	refusal    *telemetry.Refusal
}

// inTurn refuses what lies in overruns, asked about one reading after the other.
func inTurn(over []overrun) func(*telemetry.Reading) *telemetry.Refusal {
	at := -1
	return func(*telemetry.Reading) *telemetry.Refusal {
		at++
		if len(over) > 0 && at >= over[0].end {
			over = over[1:]
		}
		if len(over) == 0 || at < over[0].first {
			return nil
		}
		return over[0].refusal
	}
}

// runs are the places from first to end of readings of one device.
func runs(readings []telemetry.Reading) iter.Seq2[int, int] {
	return func(yield func(first, end int) bool) {
		for first := 0; first < len(readings); {
			end := first + 1
			for end < len(readings) && readings[end].Device == readings[first].Device {
				end++
			}
			if !yield(first, end) {
				return
			}
			first = end
		}
	}
}

// note keeps what the device has left that has least.
func (c *charge) note(device string, g limit.Grant) {
	if c.tight.Device == "" || g.Left < c.tight.Left {
		c.tight.Limit, c.tight.Device, c.tight.Left = limit.DeviceRate, device, g.Left
	}
}

func (c *charge) refusal(device string, wait time.Duration) *telemetry.Refusal {
	return telemetry.Refuse(telemetry.RateLimited, "device %s is over its rate of %d readings a second (%s): send it again in %s s",
		telemetry.Quote(device), c.rate.PerSecond(), limit.DeviceRate, httperr.RetryAfter(wait))
}

// back gives back what the readings of a batch took: the client is told to send
// all of it again.
func (c *charge) back(b *wire.Batch) {
	if c.rate == nil {
		return
	}
	for first, end := range runs(b.Readings) {
		c.rate.Give(b.Readings[first].Device, end-first)
	}
}

// announce says in an answer what is left, and when what was refused may come
// again.
func (c *charge) announce(h http.Header) {
	if c.tight.Device == "" {
		return
	}
	c.rate.Announce(h, c.tight)
	if c.refused > 0 {
		h.Set("Retry-After", httperr.RetryAfter(c.tight.Wait))
	}
}

// overRate is the answer when nothing of a batch could be taken.
func overRate(rate *limit.Rate, s limit.State) error {
	return httperr.Retry(httperr.RateLimited, max(s.Wait, time.Second), nil,
		"device %s is over its rate of %d readings a second (%s): %d of %d are left, send them again in %s s",
		telemetry.Quote(s.Device), rate.PerSecond(), s.Limit, s.Left, rate.Size(), httperr.RetryAfter(s.Wait))
}

// usedUp refuses a call that can have readings of one device only, if that has
// nothing left: before anything of the body is read, as a device that loops costs
// the least then.
func (in *Ingest) usedUp(ctx context.Context, h http.Header, device string) error {
	rate := in.rateFor(ctx)
	if own := limit.CallerOf(ctx).Device; device == "" {
		device = own
	}
	if rate == nil || device == "" {
		return nil
	}
	g := rate.Take(device, 0)
	if g.Left > 0 {
		return nil
	}
	s := limit.State{Limit: limit.DeviceRate, Device: device, Wait: g.Wait}
	rate.Announce(h, s)
	in.refused.Add(1)
	return overRate(rate, s)
}
