package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync/atomic"
	"time"

	"sluice/hub"
	"sluice/internal/settings"
	"sluice/telemetry/event"
)

// openHub reads what the settings say of the Event Hub; it asks nobody. nil where
// there is none, settings.Problems if it cannot be read.
func openHub(s settings.Settings, log *slog.Logger) (*hub.Hub, error) {
	if !s.HasHub() {
		return nil, nil
	}
	h, err := hub.Open(hub.Config{
		Connection: string(s.EventHub), Namespace: s.EventHubNamespace, Name: s.EventHubName,
		Credential: s.EventHubCredential, ClientID: s.EventHubClientID,
		ConsumerGroup: s.ConsumerGroup,
		Probe:         event.Nothing(),
		ReadBytes:     int(share(s, 16, 32*settings.MiB)),
		Log:           log,
	})
	if err != nil {
		return nil, settings.Problems{"SLUICE_EVENTHUB: " + err.Error()}
	}
	return h, nil
}

// hubProber asks the hub a question now and then: sending shows whether it
// answers, but only while somebody sends. denied gets why it refuses the question, nil
// if it does not.
func hubProber(h *hub.Hub, denied *atomic.Pointer[error]) *prober {
	return &prober{
		names: []string{h.Name()}, now: time.Now, away: func() bool { return h.Away() != nil },
		check: func(ctx context.Context, _ int, _ bool) error {
			_, err := h.Partition(ctx, "0") // each hub has one
			switch {
			case errors.Is(err, hub.ErrDenied): // it may take what is sent all the same
				denied.Store(&err)
				return nil
			case errors.Is(err, hub.ErrUnavailable):
				return err
			default:
				denied.Store(nil)
				return nil
			}
		},
	}
}

// ready says whether readings can be accepted, by what is known of the store and by
// the hub, and whether they will be consumed: a key may send that must not read.
func (g *ground) ready(ctx context.Context, store error, mayQueue bool) readiness {
	away := g.hubAway(ctx)
	r := judge(store, away, mayQueue)
	denied := g.hubDenied.Load()
	if away != nil || denied == nil || !r.accepts() || g.settings.Consume == settings.ByNobody {
		return r
	}
	reason := "the Event Hub cannot be read, what waits there is not consumed: " + (*denied).Error()
	if r.Reason != "" {
		reason = r.Reason + "; and " + reason
	}
	parts := map[string]string{"consuming": (*denied).Error()}
	maps.Copy(parts, r.Degraded)
	return readiness{"degraded", reason, parts}
}

// hubAway is why the hub takes nothing at the moment; errNoHub without one.
func (g *ground) hubAway(ctx context.Context) error {
	if g.hub == nil {
		return errNoHub
	}
	if err := g.hub.Away(); err != nil {
		return err
	}
	if s := g.hubProber.ask(ctx)[0]; !s.Reachable {
		return errors.New(s.Reason)
	}
	return nil
}

func (g *ground) hasHub() bool { return g.hub != nil }

// hubName is for the log; "" without a hub.
func (g *ground) hubName() string {
	if g.hub == nil {
		return ""
	}
	return g.hub.Namespace() + "/" + g.hub.Name()
}
