package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A certificate that is replaced is used without a new start; one that cannot be
// read leaves the old one in force.
func TestCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	p := &keyPair{cert: filepath.Join(dir, "cert"), key: filepath.Join(dir, "key"), log: slog.New(slog.DiscardHandler)}
	stamp := time.Now().Add(-time.Hour)
	put := func(cert, key []byte) {
		t.Helper()
		stamp = stamp.Add(time.Minute) // whatever the file system's clock can tell apart
		for name, text := range map[string][]byte{p.cert: cert, p.key: key} {
			if err := os.WriteFile(name, text, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(name, stamp, stamp); err != nil {
				t.Fatal(err)
			}
		}
		p.looked = time.Time{} // a second has passed
	}
	made := func() (der, cert, key []byte) {
		t.Helper()
		c, err := selfSigned(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		k, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		return c.Certificate[0], pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k})
	}
	want := func(der []byte) {
		t.Helper()
		c, err := p.get(nil)
		if err != nil || !bytes.Equal(c.Certificate[0], der) {
			t.Errorf("not the certificate that was expected, %v", err)
		}
	}
	first, cert, key := made()
	put(cert, key)
	if err := p.load(); err != nil {
		t.Fatal(err)
	}
	want(first)
	second, cert2, key2 := made()
	put(cert2, key) // half of a replacement
	want(first)
	put(cert2, key2)
	p.looked = time.Now() // it has just been looked at
	want(first)
	p.looked = time.Time{}
	want(second)
	put([]byte("nonsense"), key2)
	want(second)
}

// Versions of TLS whose ciphers are broken are not spoken, and HTTP/1.1 is all that is
// spoken over it.
func TestOldTLS(t *testing.T) {
	_, url := startServe(t, "--tls-self-signed")
	dial := func(version uint16) (*tls.Conn, error) {
		return tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{
			InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: version, NextProtos: []string{"h2", "http/1.1"},
		})
	}
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		if c, err := dial(version); err == nil {
			t.Errorf("%s is spoken", tls.VersionName(version))
			c.Close()
		}
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c, err := dial(version)
		if err != nil {
			t.Errorf("%s: %v", tls.VersionName(version), err)
			continue
		}
		if chosen := c.ConnectionState().NegotiatedProtocol; chosen != "http/1.1" {
			t.Errorf("%s: over it %q is spoken", tls.VersionName(version), chosen)
		}
		c.Close()
	}
}
