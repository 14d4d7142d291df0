package access

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/internal/httperr"
	"sluice/internal/route"
)

// changeWithin bounds how long a change of the list of blocked devices takes.
const changeWithin = 20 * time.Second

// API is the HTTP side of the list of blocked devices. It may be used concurrently.
type API struct{ blocked *Blocked }

// NewAPI makes the HTTP side of a list.
func NewAPI(blocked *Blocked) *API { return &API{blocked} }

// Register adds the routes. Errors are left to the server's error handler
// (httperr.Handler). All of them may be called again: a host delivers calls without
// a body several times.
func (a *API) Register(e *echo.Echo) {
	e.POST("/api/v1/devices/:deviceId/block", a.change(a.blocked.Block))
	e.POST("/api/v1/devices/:deviceId/unblock", a.change(a.blocked.Unblock))
}

// change answers 204, for an unknown device, too.
func (a *API) change(change func(ctx context.Context, device string) error) echo.HandlerFunc {
	return func(c echo.Context) error {
		device, err := route.Device(c, "deviceId")
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(c.Request().Context(), changeWithin)
		defer cancel()
		err = change(ctx, device)
		if errors.Is(err, ErrTooMany) {
			return httperr.New(httperr.TooManyBlocked, "%d devices are blocked, which is the most there may be: delete or unblock others, or rotate the key that signed their tokens", MaxBlocked)
		}
		if err != nil {
			return err
		}
		return c.NoContent(http.StatusNoContent)
	}
}
