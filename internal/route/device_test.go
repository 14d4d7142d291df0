package route_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/labstack/echo/v4"

	"sluice/internal/httperr"
	"sluice/internal/route"
)

func TestDevice(t *testing.T) {
	for path, want := range map[string]string{
		"/devices/pump-7":          "pump-7",
		"/devices/site%3Apump@7":   "site:pump@7",
		"/devices/pump%2D7":        "pump-7",
		"/devices/pump%252D7":      "",
		"/devices/pump%2F7":        "",
		"/devices/-pump":           "",
		"/devices/pump%207":        "",
		"/devices/p%C3%BCmp":       "",
		"/devices/..%2Fdevices":    "",
		"/devices/pump%0d%0aX:%20": "",
	} {
		e, got := echo.New(), "not called"
		e.GET("/devices/:id", func(c echo.Context) error {
			device, err := route.Device(c, "id")
			var refused *httperr.Error
			if err != nil && (!errors.As(err, &refused) || refused.Code != httperr.InvalidDevice) {
				t.Errorf("%s: %v", path, err)
			}
			got = device
			return nil
		})
		e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
		if got != want {
			t.Errorf("%s is %q, %q is right", path, got, want)
		}
	}
}
