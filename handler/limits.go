package main

import (
	"time"

	"github.com/labstack/echo/v4"

	"sluice/access/limit"
	"sluice/internal/httperr"
	"sluice/internal/settings"
)

// newRate is what each device may send; nil where there is no limit.
func newRate(s settings.Settings) *limit.Rate {
	if s.DeviceRate == 0 {
		return nil
	}
	started := time.Now()
	devices := share(s, 64, 32*settings.MiB) / limit.EntryBytes
	return limit.NewRate(s.DeviceRate, int(devices), func() time.Duration { return time.Since(started) })
}

// newConcurrency lets no credential have more than a quarter of the calls that the
// process has connections for: what many share is not one's to use up.
func newConcurrency(s settings.Settings) *limit.Concurrency {
	return limit.NewConcurrency(connections(s.Memory) / 4)
}

// retryCalls is when a caller with too many calls may try again.
const retryCalls = time.Second

// limitsState is what the status says of limits: what they are, and how often they
// were met since the start.
type limitsState struct {
	DeviceRate      int   `json:"deviceRate"` // readings a second; 0: no limit
	RefusedReadings int64 `json:"refusedReadings"`
	Calls           int   `json:"callsOfACredential"` // at once
	RefusedCalls    int64 `json:"refusedCalls"`
	MaxInflight     int64 `json:"maxInflightBytes"`
	Inflight        int64 `json:"inflightBytes"`
	Memory          int64 `json:"memoryBytes"`
	MemoryUsed      int64 `json:"memoryUsedBytes"`    // by the runtime's count
	Overloaded      int64 `json:"overloadedRequests"` // refused for want of memory
}

func (g *ground) limitsState() limitsState {
	return limitsState{
		DeviceRate: g.settings.DeviceRate, RefusedReadings: g.ingest.Refused(),
		Calls: g.calls.Most(), RefusedCalls: g.calls.Refused(),
		MaxInflight: int64(g.settings.MaxInflight), Inflight: g.inflight.used.Load(),
		Memory: int64(g.settings.Memory), MemoryUsed: int64(heldByRuntime()), Overloaded: g.inflight.refused.Load(),
	}
}

// boundCallers refuses calls of a caller that has too many under way. It stands
// after access control, which says who calls (limit.WithCaller).
func boundCallers(calls *limit.Concurrency) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			caller := limit.CallerOf(c.Request().Context())
			if caller.Key == "" || caller.Exempt {
				return next(c)
			}
			if !calls.Enter(caller.Key) {
				calls.Announce(c.Response().Header(), limit.State{Limit: limit.CallerConcurrency})
				return httperr.Retry(httperr.TooManyCalls, retryCalls, nil,
					"%d calls with this credential are under way, none is left (%s): try again when one of them has been answered", calls.Most(), limit.CallerConcurrency)
			}
			defer calls.Leave(caller.Key)
			return next(c)
		}
	}
}
