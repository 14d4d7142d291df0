package ingest

import (
	"context"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"sluice/internal/httperr"
	"sluice/internal/route"
	"sluice/telemetry/wire"
)

// Telemetry is POST /api/v1/telemetry: messages that name their devices.
func (in *Ingest) Telemetry(c echo.Context) error { return in.post(c, "") }

// DeviceTelemetry is POST /api/v1/devices/:deviceId/telemetry.
func (in *Ingest) DeviceTelemetry(c echo.Context) error {
	device, err := route.Device(c, "deviceId")
	if err != nil {
		return err
	}
	return in.post(c, device)
}

// DeleteDevice is DELETE /api/v1/devices/:deviceId: 202 without a body, for an
// unknown device too.
func (in *Ingest) DeleteDevice(c echo.Context) error {
	device, err := route.Device(c, "deviceId")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), in.cfg.Deadline)
	defer cancel()
	if err := in.store.Delete(ctx, device, in.clock.Take(1)); err != nil {
		code, after := storeCode(err)
		return httperr.Retry(code, after, err, "the deletion is not durable: send it again")
	}
	return c.NoContent(http.StatusAccepted)
}

// post takes a body and answers with a verdict on its readings.
func (in *Ingest) post(c echo.Context, device string) error {
	ctx, header := c.Request().Context(), c.Response().Header()
	if err := in.authoriseDevice(ctx, device); err != nil {
		return err
	}
	if err := in.usedUp(ctx, header, device); err != nil {
		return err
	}
	memory := in.room.body()
	defer memory.free()
	batch, err := in.decode(c.Request(), device, memory)
	if err != nil {
		return err
	}
	ctx = withTrace(ctx, c.Request().Header.Get(traceHeader))
	queued, charge, err := in.take(ctx, batch)
	if forbidden := (*forbiddenError)(nil); errors.As(err, &forbidden) {
		return forbidden.answer()
	}
	if err != nil {
		return explainStore(err)
	}
	charge.announce(header)
	if charge.refused > 0 && len(batch.Readings) == 0 {
		return overRate(charge.rate, charge.tight)
	}
	return c.JSON(verdict(batch, queued))
}

// decode reads a request's body. What can be told from the headers is refused
// before anything of it is read.
func (in *Ingest) decode(r *http.Request, device string, memory *body) (*wire.Batch, error) {
	parse, err := format(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	if r.ContentLength > in.cfg.MaxBody {
		return nil, httperr.New(httperr.BodyTooLarge, "body is over %d bytes: send several", in.cfg.MaxBody)
	}
	if in.group.Full() {
		return nil, explainStore(ErrFull)
	}
	encoding := r.Header.Values("Content-Encoding")
	body, err := wire.Body(r.Body, joinHeader(encoding), wire.Limits{Sent: in.cfg.MaxBody, Decoded: in.cfg.MaxDecoded, Hold: memory.hold})
	if err != nil {
		return nil, explainBody(err)
	}
	defer body.Close()
	batch, err := parse(metered{body, memory}, in.options(device))
	if err != nil {
		return nil, explainBody(err)
	}
	return batch, nil
}
