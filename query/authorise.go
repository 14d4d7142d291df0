package query

import (
	"context"
	"strings"

	"github.com/labstack/echo/v4"

	"sluice/internal/httperr"
	"sluice/internal/route"
	"sluice/telemetry"
)

// prefix is what the ids of all devices begin with that a request may read.
func (s *Service) prefix(ctx context.Context) (string, error) {
	if s.options.Prefix == nil {
		return "", nil
	}
	prefix, ok := s.options.Prefix(ctx)
	if !ok {
		return "", httperr.New(httperr.Forbidden, "the credential lacks the scope read")
	}
	return prefix, nil
}

// deviceID reads the device of a path that the request may read: the answer about
// another one does not depend on whether there is such a device.
func (s *Service) deviceID(c echo.Context) (string, error) {
	id, err := route.Device(c, "id")
	if err != nil {
		return "", err
	}
	prefix, err := s.prefix(c.Request().Context())
	if err == nil && !strings.HasPrefix(id, prefix) {
		err = httperr.New(httperr.ForbiddenDevice, "the credential does not read %s", telemetry.Quote(id))
	}
	return id, err
}

// narrower is the prefix of what begins with both; ok, if anything can.
func narrower(a, b string) (prefix string, ok bool) {
	if len(a) < len(b) {
		a, b = b, a
	}
	return a, strings.HasPrefix(a, b)
}
