package main

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"sluice/access"
	"sluice/internal/settings"
)

// A folder that takes longer to read back than a try may take is opened by a
// later one; the first does not end the process.
func TestAFolderThatTakesLong(t *testing.T) {
	s, _, err := settings.Load([]string{"SLUICE_DATA=" + t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s.Limit(settings.GiB)
	log := slog.New(slog.DiscardHandler)
	storage := &embedded{settings: s, log: log}
	ground := newGround(s, storage, nil, access.Keys{}, log)
	over, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	if _, err := openHouse(over, ground); err == nil || storage.isFinal(err) {
		t.Fatal("ends the process: ", err)
	}
	h, err := openHouse(t.Context(), ground)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.close(t.Context()); err != nil {
		t.Error(err)
	}
}
