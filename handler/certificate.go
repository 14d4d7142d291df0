package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"sluice/internal/settings"
)

// certificate is what the service shows to clients over TLS: read again when its
// files change, as those who renew it do not restart services. It may be used
// concurrently.
type certificate struct {
	cert, key string
	log       *slog.Logger
	now       func() time.Time

	mu     sync.Mutex
	loaded *tls.Certificate
	files  [2]time.Time // when they were changed, as loaded
	looked time.Time
}

// lookAgain is how often the files are looked at, at most.
const lookAgain = 10 * time.Second

// mostOfPEM is how long a file may be: chains have some KiB.
const mostOfPEM = 1 << 20

// loadCertificate reads the files of the settings; nil without any. A settingError
// says what is wrong with them.
func loadCertificate(s settings.Settings, log *slog.Logger) (*certificate, error) {
	if !s.HasTLS() {
		return nil, nil
	}
	c := &certificate{cert: s.TLSCert, key: s.TLSKey, log: log, now: time.Now}
	if err := c.load(); err != nil {
		return nil, err
	}
	c.looked = c.now()
	return c, nil
}

// config is TLS with the certificate.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current(), nil
		},
	}
}

// current is the certificate of the files; while they cannot be read, as in the
// middle of a renewal, the one before.
func (c *certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if now.Sub(c.looked) < lookAgain {
		return c.loaded
	}
	c.looked = now
	if c.times() == c.files {
		return c.loaded
	}
	if err := c.load(); err != nil {
		c.log.Warn("the certificate changed, but cannot be read: the one before stays", "error", err.Error())
		return c.loaded
	}
	c.log.Info("the certificate was read again", "expires", c.loaded.Leaf.NotAfter)
	return c.loaded
}

// load reads the files; its errors are settingErrors.
func (c *certificate) load() error {
	times := c.times() // before the content: a change meanwhile is seen the next time
	cert, err := readPEM(c.cert)
	if err != nil {
		return &settingError{"SLUICE_TLS_CERT", err}
	}
	key, err := readPEM(c.key)
	if err != nil {
		return &settingError{"SLUICE_TLS_KEY", err}
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return &settingError{"SLUICE_TLS_CERT", err}
	}
	c.loaded, c.files = &pair, times
	return nil
}

// readPEM reads a file that ends: a pipe without a writer would not even be opened,
// and a device may be without an end.
func readPEM(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "read", Path: name, Err: errors.New("is not a regular file")}
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, mostOfPEM+1))
	if err == nil && len(text) > mostOfPEM {
		err = fmt.Errorf("%s is longer than 1 MiB", name)
	}
	return text, err
}

func (c *certificate) times() (times [2]time.Time) {
	for i, name := range []string{c.cert, c.key} {
		if info, err := os.Stat(name); err == nil {
			times[i] = info.ModTime()
		}
	}
	return times
}
