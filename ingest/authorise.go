package ingest

import (
	"context"

	"sluice/internal/httperr"
	"sluice/telemetry"
	"sluice/telemetry/wire"
)

// forbiddenError says that nothing of a body is left, as its readings are not those
// of whoever sent them, or of devices that are blocked.
type forbiddenError struct{ refusal *telemetry.Refusal }

func (e *forbiddenError) Error() string { return e.refusal.Error() }

// answer is the error as HTTP has it: its codes are the same words.
func (e *forbiddenError) answer() error {
	return httperr.New(string(e.refusal.Code), "%s", e.refusal.Message)
}

// authoriseDevice judges the device of a path, before anything of the body is read.
func (in *Ingest) authoriseDevice(ctx context.Context, device string) error {
	if in.cfg.Devices == nil || device == "" {
		return nil
	}
	if refusal := in.cfg.Devices(ctx)(device); refusal != nil {
		return (&forbiddenError{refusal}).answer()
	}
	return nil
}

// authorise takes back the readings of devices that the request must not bring. It
// comes before whatever knows something of a device. A *forbiddenError if none is
// left.
func (in *Ingest) authorise(ctx context.Context, b *wire.Batch) error {
	if in.cfg.Devices == nil {
		return nil
	}
	judge := in.cfg.Devices(ctx)
	var device string // of the last reading
	var verdict, first *telemetry.Refusal
	b.Refuse(func(r *telemetry.Reading) *telemetry.Refusal {
		if r.Device != device {
			device, verdict = r.Device, judge(r.Device)
		}
		if first == nil {
			first = verdict
		}
		return verdict
	})
	if first != nil && len(b.Readings) == 0 {
		return &forbiddenError{first}
	}
	return nil
}
