package main

import (
	"context"
	"errors"
	"log/slog"
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
// answers, but only while somebody sends.
func hubProber(h *hub.Hub) *prober {
	return &prober{
		names: []string{h.Name()}, now: time.Now, away: func() bool { return h.Away() != nil },
		check: func(ctx context.Context, _ int, _ bool) error {
			_, err := h.Partition(ctx, "0") // each hub has one
			if !errors.Is(err, hub.ErrUnavailable) {
				return nil // a key that may only send must not ask
			}
			return err
		},
	}
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
