package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/acme"

	"github.com/duplexgo/duplex/websocket"
)

// tlsSettings are the flags of a server that say whether it speaks TLS.
type tlsSettings struct {
	cert, key  string
	selfSigned bool
	reloads    reloads // of the files that were read
	acme       acmeSettings
}

func (s *tlsSettings) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.cert, "tls-cert", "", "speak TLS with the certificate in this `FILE` (PEM, its chain after it); read again when it changes")
	cmd.Flags().StringVar(&s.key, "tls-key", "", "`FILE` with the private key of --tls-cert (PEM)")
	cmd.Flags().BoolVar(&s.selfSigned, "tls-self-signed", false, "speak TLS with a certificate that is made now: for trying, clients have to be told not to verify it")
}

// on reports whether the server speaks TLS.
func (s *tlsSettings) on() bool { return s.selfSigned || s.cert != "" || s.acme.on() }

// check returns what is wrong with the flags.
func (s *tlsSettings) check() error {
	switch {
	case s.acme.on() && (s.selfSigned || s.cert != "" || s.key != ""):
		return wrongUse("--acme-host gets a certificate, and --tls-cert, --tls-key or --tls-self-signed is another source of one: leave one away")
	case s.selfSigned && (s.cert != "" || s.key != ""):
		return wrongUse("--tls-self-signed makes a certificate, and --tls-cert or --tls-key names one: leave one away")
	case s.cert != "" && s.key == "":
		return wrongUse("--tls-cert needs --tls-key, the file with its private key")
	case s.cert == "" && s.key != "":
		return wrongUse("--tls-key needs --tls-cert, the file with the certificate")
	}
	return nil
}

// wrap puts TLS on top of a listener, if it is wanted.
func (s *tlsSettings) wrap(ln net.Listener, log *slog.Logger) (net.Listener, error) {
	if !s.on() {
		return ln, nil
	}
	// WebSockets need HTTP/1.1, and no other is offered.
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	switch {
	case s.acme.on():
		if err := s.acme.open(); err != nil {
			return nil, err
		}
		config.GetCertificate = s.acme.manager.GetCertificate
		config.NextProtos = append(config.NextProtos, acme.ALPNProto)
	case s.selfSigned:
		cert, err := selfSigned(ln.Addr())
		if err != nil {
			return nil, fmt.Errorf("making a certificate: %w", err)
		}
		log.Info("made a certificate", "sha256", fmt.Sprintf("%x", sha256.Sum256(cert.Certificate[0])))
		config.Certificates = []tls.Certificate{cert}
	default:
		pair := &keyPair{cert: s.cert, key: s.key, log: log}
		if err := pair.load(); err != nil {
			return nil, fmt.Errorf("--tls-cert %s, --tls-key %s: %w", s.cert, s.key, err)
		}
		s.reloads.add(pair.load)
		config.GetCertificate = pair.get
	}
	return tls.NewListener(websocket.NewListener(ln), config), nil
}

// selfSigned makes a certificate for this machine.
func selfSigned(addr net.Addr) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "duplex, made for trying"},
		NotBefore:             time.Now().Add(-time.Hour), // clocks differ
		NotAfter:              time.Now().AddDate(0, 0, 30),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if tcp, ok := addr.(*net.TCPAddr); ok && !tcp.IP.IsUnspecified() {
		template.IPAddresses = append(template.IPAddresses, tcp.IP)
	}
	if name, err := os.Hostname(); err == nil {
		template.DNSNames = append(template.DNSNames, name)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// lookEvery is the shortest time between two looks at the files of a keyPair.
const lookEvery = time.Second

// A keyPair is a certificate in files, which are replaced now and then.
type keyPair struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	loaded  *tls.Certificate
	changed [2]time.Time // of the files, when they were last read
	looked  time.Time
}

// get returns the certificate. One that cannot be read any more is kept as it was.
func (p *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.looked) >= lookEvery {
		p.looked = now
		if changed := p.times(); changed != p.changed {
			if err := p.read(); err != nil {
				p.log.Warn("the new certificate cannot be used; the old one is", "error", err)
			} else {
				p.log.Info("the certificate has been read again")
			}
		}
	}
	return p.loaded, nil
}

func (p *keyPair) load() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.read()
}

func (p *keyPair) read() error {
	p.changed = p.times()
	cert, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err == nil {
		p.loaded = &cert
	}
	return err
}

func (p *keyPair) times() (t [2]time.Time) {
	for i, name := range []string{p.cert, p.key} {
		if info, err := os.Stat(name); err == nil {
			t[i] = info.ModTime()
		}
	}
	return t
}
