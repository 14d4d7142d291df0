package host

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// admin answers the host's own paths, of which there are two: the state, and
// starting a function by hand. From the description.
func (h *Host) admin(w http.ResponseWriter, r *http.Request, path string) {
	if !h.hasKey(r) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	name, isFunction := strings.CutPrefix(path, "/admin/functions/")
	switch {
	case path == "/admin/host/status" && r.Method == http.MethodGet:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"id": "stand-in", "state": "Running", "version": Version})
	case isFunction && r.Method == http.MethodPost:
		h.startByHand(w, r, name)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// startByHand starts a timer's function and does not wait for it.
func (h *Host) startByHand(w http.ResponseWriter, r *http.Request, name string) {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 1<<20))
	if _, err := h.running(name, "timerTrigger"); err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	go func() { _ = h.Trigger(h.timers, name) }() // trigger logs what goes wrong
	w.WriteHeader(http.StatusAccepted)
}
