package main

import (
	"crypto/tls"
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

// loadCertificate reads the files of the settings; nil without any. A settingError
// says what is wrong with them.
func loadCertificate(s settings.Settings, log *slog.Logger) (*certificate, error) {
	if !s.HasTLS() {
		return nil, nil
	}
	c := &certificate{cert: s.TLSCert, key: s.TLSKey, log: log, now: time.Now}
	if err := c.load(); err != nil {
		return nil, &settingError{"SLUICE_TLS_CERT", err}
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

func (c *certificate) load() error {
	times := c.times() // before the content: a change meanwhile is seen the next time
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return err
	}
	c.loaded, c.files = &pair, times
	return nil
}

func (c *certificate) times() (times [2]time.Time) {
	for i, name := range []string{c.cert, c.key} {
		if info, err := os.Stat(name); err == nil {
			times[i] = info.ModTime()
		}
	}
	return times
}
