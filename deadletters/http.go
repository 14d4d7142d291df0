package deadletters

import (
	"github.com/labstack/echo/v4"
)

// API is the HTTP side of the dead letters. It may be used concurrently.
type API struct {
	store    *Store
	replayer Replayer
}

// NewAPI makes the HTTP side of a store; replayer judges letters again (nil: they
// cannot be replayed here).
func NewAPI(store *Store, replayer Replayer) *API { return &API{store, replayer} }

// Register adds the routes. Errors are left to the server's error handler
// (httperr.Handler).
func (a *API) Register(e *echo.Echo) {}
