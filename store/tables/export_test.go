package tables

import (
	"crypto/tls"
	"crypto/x509"
)

// Trust makes connections trust a test server's certificate. It must come
// before the first call.
func (s *Store) Trust(c *x509.Certificate) {
	pool := x509.NewCertPool()
	pool.AddCert(c)
	s.transport.TLSClientConfig = &tls.Config{RootCAs: pool}
}
