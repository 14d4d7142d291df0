package invoke

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"

	"github.com/labstack/echo/v4"

	"sluice/internal/httperr"
)

const wrapped = "host.json must set customHandler.enableForwardingHttpRequest (and enableProxyingHttpRequest) to true: " +
	"without it HTTP calls come wrapped in an envelope, which loses bodies"

// RefuseWrapped answers HTTP calls that the host sends as envelopes, because
// host.json lacks the switch: in an envelope chunked bodies are missing without
// a word. Caller and logs are told which switch, the log once.
func RefuseWrapped(e *echo.Echo, log *slog.Logger, functions ...string) {
	tell := sync.OnceFunc(func() { log.Error(wrapped) })
	refuse := func(c echo.Context) error {
		tell()
		text, err := json.Marshal(httperr.Body(httperr.New(httperr.HostSetting, wrapped)))
		if err != nil {
			return err
		}
		return c.JSON(http.StatusOK, Reply(http.StatusInternalServerError, string(text), wrapped))
	}
	for _, function := range functions {
		e.Any("/"+function, OnlyHost(function, refuse))
	}
}
