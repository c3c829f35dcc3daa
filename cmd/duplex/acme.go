package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// acmeSettings are the flags that say where certificates are got from by ACME (RFC 8555).
type acmeSettings struct {
	hosts     []string
	directory string
	email     string
	cache     string
	manager   *autocert.Manager
}

func (a *acmeSettings) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&a.hosts, "acme-host", nil, "speak TLS with a certificate for `HOST`, got and renewed by ACME, and accept the terms of who issues it; may be repeated")
	f.StringVar(&a.directory, "acme-directory", acme.LetsEncryptURL, "`URL` of the issuer's ACME directory")
	f.StringVar(&a.email, "acme-email", "", "`ADDRESS` at which the issuer reaches you")
	f.StringVar(&a.cache, "acme-cache", "", "`FOLDER` for keys and certificates; by default that of the service, or duplex in the user's cache")
}

func (a *acmeSettings) on() bool { return len(a.hosts) > 0 }

// check returns what is wrong with the flags.
func (a *acmeSettings) check() error {
	for _, host := range a.hosts {
		_, err := netip.ParseAddr(host)
		if err == nil || !strings.Contains(strings.Trim(host, "."), ".") || strings.ContainsAny(host, "*:/ ") {
			return wrongUse("--acme-host %q is not the full name of a host, as in push.example.com", host)
		}
	}
	if u, err := url.Parse(a.directory); err != nil || u.Scheme != "https" || u.Host == "" {
		return wrongUse("--acme-directory %q is not a URL that begins with https://", a.directory)
	}
	return nil
}

// open makes the manager of the certificates. The folder must be good now, and not when
// the first certificate has come: issuers count how many they give.
func (a *acmeSettings) open() error {
	folder, err := a.folder()
	if err == nil {
		err = os.MkdirAll(folder, 0o700)
	}
	if err == nil {
		var probe *os.File
		if probe, err = os.CreateTemp(folder, "probe"); err == nil {
			probe.Close()
			err = os.Remove(probe.Name())
		}
	}
	if err != nil {
		return fmt.Errorf("no folder for certificates: %w: name one with --acme-cache", err)
	}
	a.manager = &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		HostPolicy: autocert.HostWhitelist(a.hosts...),
		Cache:      autocert.DirCache(folder),
		Email:      a.email,
		Client:     &acme.Client{DirectoryURL: a.directory, UserAgent: "duplex/" + version()},
	}
	return nil
}

// folder is where certificates are kept.
func (a *acmeSettings) folder() (string, error) {
	if a.cache != "" {
		return a.cache, nil
	}
	if state, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); state != "" { // systemd.exec(5)
		return filepath.Join(state, "acme"), nil
	}
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "duplex", "acme"), err
}

// redirect answers HTTP at an address by sending clients to HTTPS, until stop is called. It
// also answers the issuer's question whether the host is ours (RFC 8555, 8.3).
func (a *acmeSettings) redirect(ln net.Listener, https net.Addr, log *slog.Logger) (stop func(context.Context) error) {
	var h http.Handler = toHTTPS(https.(*net.TCPAddr).Port)
	if a.manager != nil {
		h = withoutPort(a.manager.HTTPHandler(h))
	}
	s := serveOn(ln, h, log)
	go func() {
		if <-s.ended; !errors.Is(s.err, net.ErrClosed) {
			log.Error("no longer sending HTTP to HTTPS", "error", s.err)
		}
	}()
	return s.stop
}

// withoutPort takes the port from the Host of requests. The manager of certificates knows
// its hosts by name: an issuer that asks at another port than 80 would be refused.
func withoutPort(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bare := *r
		bare.Host = hostname(r.Host)
		next.ServeHTTP(w, &bare)
	})
}

// hostname returns a Host without its port, and an address of IPv6 without its brackets.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.Trim(host, "[]")
}

// toHTTPS sends to the same URL with https, at a port. What was posted in the clear is
// not to be sent again by itself, for its token has been seen: that is refused.
func toHTTPS(port int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		host := hostname(r.Host)
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			http.Error(w, "use https", http.StatusForbidden)
			return
		case host == "" || strings.ContainsAny(host, "/\\@?#"):
			http.Error(w, "the Host is missing or none", http.StatusBadRequest)
			return
		case port != 443:
			host = net.JoinHostPort(host, strconv.Itoa(port))
		case strings.Contains(host, ":"): // IPv6
			host = "[" + host + "]"
		}
		w.Header().Set("Location", "https://"+host+r.URL.RequestURI())
		w.WriteHeader(http.StatusPermanentRedirect)
	}
}
