package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/internal/settings"
)

// issue writes a certificate of its own for loopback, with a serial number to know
// it by, and its key.
func issue(t *testing.T, certFile, keyFile string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "sluice"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHTTPS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	issue(t, cert, key, 7)
	p := serving(t, "SLUICE_TLS_CERT="+cert, "SLUICE_TLS_KEY="+key)
	address := strings.TrimPrefix(p.url, "http://")

	roots := x509.NewCertPool()
	text, _ := os.ReadFile(cert)
	roots.AppendCertsFromPEM(text)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}}
	answer, err := client.Post("https://"+address+"/api/v1/telemetry", "application/json", strings.NewReader(reading))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != 200 || answer.ProtoMajor != 1 || answer.TLS.PeerCertificates[0].SerialNumber.Int64() != 7 {
		t.Errorf("%+v", answer)
	}
	if answer, err := http.Get("http://" + address + "/healthz"); err == nil && answer.StatusCode == 200 {
		t.Error("plain HTTP is answered, too")
	}
	if c, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS11}); err == nil {
		c.Close()
		t.Error("an old version of TLS is spoken")
	}
	p.stop()
	key0, _ := os.ReadFile(key)
	if strings.Contains(p.log.String(), strings.Split(string(key0), "\n")[1]) {
		t.Error("the key is in the log")
	}
}

func TestWrongCertificateStopsTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key, other := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "other.pem")
	issue(t, filepath.Join(dir, "unused.pem"), other, 1)
	issue(t, cert, key, 2)
	for name, files := range map[string][2]string{
		"no such file": {filepath.Join(dir, "none.pem"), key}, "another key": {cert, other}, "the key for the certificate": {key, key}, "a folder": {dir, key},
	} {
		p := command(t, []string{"SLUICE_ADDR=127.0.0.1:0", "SLUICE_TLS_CERT=" + files[0], "SLUICE_TLS_KEY=" + files[1]})
		p.begin()
		if code := p.code(); code != 2 || !strings.Contains(p.stderr.String(), "SLUICE_TLS_CERT: ") {
			t.Errorf("%s: exit code %d, stderr %s", name, code, &p.stderr)
		}
	}
}

// A certificate that is renewed is shown without a restart, and half a renewal
// does no harm.
func TestRenewal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	issue(t, cert, key, 1)
	c, err := loadCertificate(settings.Settings{TLSCert: cert, TLSKey: key}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	c.now = func() time.Time { return now }
	shown := func() int64 { return c.current().Leaf.SerialNumber.Int64() }
	later := func(name string) { // a clock of files is coarse
		if err := os.Chtimes(name, now, now); err != nil {
			t.Fatal(err)
		}
	}
	if n := shown(); n != 1 {
		t.Error(n)
	}
	issue(t, filepath.Join(dir, "next.pem"), filepath.Join(dir, "nextkey.pem"), 2)
	if err := os.Rename(filepath.Join(dir, "next.pem"), cert); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	later(cert)
	if n := shown(); n != 1 {
		t.Error(n, "is shown with another one's key")
	}
	if err := os.Rename(filepath.Join(dir, "nextkey.pem"), key); err != nil {
		t.Fatal(err)
	}
	later(key)
	if n := shown(); n != 1 {
		t.Error(n, "the files are looked at all the time")
	}
	now = now.Add(lookAgain)
	if n := shown(); n != 2 {
		t.Error(n, "is still shown after the renewal")
	}
}
