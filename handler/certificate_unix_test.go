//go:build unix

package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/internal/settings"
)

// What has no end, or may not have one, is not read: at the start, and when the
// files change.
func TestCertificateWithoutAnEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	issue(t, in("cert"), in("key"), 1)
	if err := syscall.Mkfifo(in("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	cert, err := os.ReadFile(in("cert"))
	if err != nil {
		t.Fatal(err)
	}
	for name, length := range map[string]int{"full": 1 << 20, "long": 1<<20 + 1} { // PEM may have text around it
		if err := os.WriteFile(in(name), append(cert, strings.Repeat("\n", length-len(cert))...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	load := func(cert, key string) error {
		done := make(chan error, 1)
		go func() {
			_, err := loadCertificate(settings.Settings{TLSCert: cert, TLSKey: key}, slog.New(slog.DiscardHandler))
			done <- err
		}()
		select {
		case err := <-done:
			return err
		case <-time.After(10 * time.Second):
			t.Fatalf("%s, %s: is read without end", cert, key)
			return nil
		}
	}
	for _, c := range []struct{ cert, key, want string }{
		{in("fifo"), in("key"), "SLUICE_TLS_CERT: "}, {in("cert"), in("fifo"), "SLUICE_TLS_KEY: "},
		{in("long"), in("key"), "SLUICE_TLS_CERT: "}, {in("cert"), in("long"), "SLUICE_TLS_KEY: "},
		{"/dev/zero", in("key"), "SLUICE_TLS_CERT: "}, {in("cert"), "/dev/zero", "SLUICE_TLS_KEY: "},
	} {
		if err := load(c.cert, c.key); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s, %s: %v", c.cert, c.key, err)
		}
	}
	if err := load(in("full"), in("key")); err != nil {
		t.Error(err)
	}

	shown, err := loadCertificate(settings.Settings{TLSCert: in("cert"), TLSKey: in("key")}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	shown.now = func() time.Time { return time.Now().Add(time.Hour) }
	if err := os.Rename(in("fifo"), in("cert")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(in("cert"), time.Now(), time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if n := shown.current().Leaf.SerialNumber.Int64(); n != 1 {
		t.Error(n)
	}
}
