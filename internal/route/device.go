// Package route reads what a request's path says, the same for every door.
package route

import (
	"net/url"

	"github.com/labstack/echo/v4"

	"sluice/internal/httperr"
	"sluice/telemetry"
)

// Device reads a parameter of the path that is a device's id; httperr.InvalidDevice
// if it is none. echo leaves a path as it was sent where that is not in its usual
// encoding.
func Device(c echo.Context, parameter string) (string, error) {
	device := c.Param(parameter)
	if c.Request().URL.RawPath != "" {
		plain, err := url.PathUnescape(device)
		if err != nil {
			return "", httperr.New(httperr.InvalidDevice, "device %.128q in the path is not percent-encoded correctly", device)
		}
		device = plain
	}
	if refusal := telemetry.CheckDevice(device); refusal != nil {
		return "", httperr.New(httperr.InvalidDevice, "%s", refusal.Message)
	}
	return device, nil
}
