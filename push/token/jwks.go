package token

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// A JWKS is a Source of the keys that an issuer publishes as a JWK Set under a URL
// (RFC 7517, 5). It fetches them when they are first asked for, again when a token
// names one that it does not have, and from time to time. While that fails, the last
// keys go on to count. Keys of the set that cannot be used here are left out: secrets,
// private keys, those of other algorithms or for encryption.
//
// The fields must not be changed once it is in use; URL is the only one that has no
// default.
type JWKS struct {
	// URL is where the set is. It must be https, or http on this machine: who can
	// change the set on its way can sign tokens.
	URL string

	// Refresh is how old keys become before they are fetched again, in the
	// background. Default 10 minutes; negative: only for an unknown key.
	Refresh time.Duration

	// Interval is the least time between two fetches, whatever for: made-up key ids
	// must not make this server flood the issuer's. A new key may stay unknown for
	// that long. Default 10 s; negative: none.
	Interval time.Duration

	// Timeout is how long a fetch may take, and so how long a token may wait.
	// Default 10 s; negative: no limit.
	Timeout time.Duration

	// MaxBytes is the longest set. Default 256 KiB; negative: no limit.
	MaxBytes int64

	// Transport makes the requests. nil: one that keeps no connections, with the
	// proxy of the environment.
	Transport http.RoundTripper

	// Log gets failures, and changes of the keys. nil: slog.Default().
	Log *slog.Logger

	mu      sync.Mutex
	keys    Keys
	ids     string        // of keys, for the log
	fetched time.Time     // when keys were; zero: there are none yet
	asked   time.Time     // when the last fetch began
	failed  bool          // the last fetch
	pending chan struct{} // of a fetch that goes on: closed at its end
}

const (
	defaultRefresh  = 10 * time.Minute
	defaultInterval = 10 * time.Second
	defaultTimeout  = 10 * time.Second
	defaultMaxBytes = 256 << 10
)

// orDefault returns what a setting means: its default if it is zero, and none, which
// is 0, if it is negative.
func orDefault[T ~int64](setting, standard T) T {
	if setting == 0 {
		return standard
	}
	return max(setting, 0)
}

var errUnfetched = errors.New("the keys have not been fetched yet")

// Keys returns the keys that were fetched last. It waits for a fetch, at most until
// ctx is done, if there are no keys yet or none of this kid. The error says that
// there are no keys, or that the one that is missing may be among those that cannot
// be fetched now.
func (j *JWKS) Keys(ctx context.Context, kid string) (Keys, error) {
	j.mu.Lock()
	none := j.fetched.IsZero()
	missing := none || kid != "" && !j.keys.has(kid)
	refresh := orDefault(j.Refresh, defaultRefresh)
	old := !none && refresh > 0 && time.Since(j.fetched) >= refresh
	if missing || old {
		j.begin()
	}
	keys, pending := j.keys, j.pending
	j.mu.Unlock()
	if !missing {
		return keys, nil
	}
	if pending != nil {
		select {
		case <-pending:
		case <-ctx.Done():
			return Keys{}, context.Cause(ctx)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fetched.IsZero() || j.failed && kid != "" && !j.keys.has(kid) {
		return Keys{}, errUnfetched
	}
	return j.keys, nil
}

// begin starts a fetch, unless one goes on or it is too early for another. It goes on
// without the one who wanted it: others wait for it too.
func (j *JWKS) begin() {
	if j.pending != nil || !j.asked.IsZero() && time.Since(j.asked) < orDefault(j.Interval, defaultInterval) {
		return
	}
	j.asked = time.Now()
	done := make(chan struct{})
	j.pending = done
	go func() {
		defer close(done)
		keys, ids, err := j.fetch()
		j.mu.Lock()
		defer j.mu.Unlock()
		j.pending = nil
		j.end(keys, ids, err)
	}()
}

// end notes how a fetch has ended.
func (j *JWKS) end(keys Keys, ids string, err error) {
	log := j.Log
	if log == nil {
		log = slog.Default()
	}
	j.failed = err != nil
	if err != nil {
		log.Error("keys for tokens cannot be fetched", "url", redacted(j.URL), "error", err, "keys", keysBefore(j.fetched))
		return
	}
	if j.fetched.IsZero() || ids != j.ids {
		log.Info("keys for tokens were fetched", "url", redacted(j.URL), "keys", keys.Len(), "ids", ids)
	}
	j.keys, j.ids, j.fetched = keys, ids, time.Now()
}

func keysBefore(fetched time.Time) string {
	if fetched.IsZero() {
		return "none yet"
	}
	return "those of " + fetched.UTC().Format(time.RFC3339) + " go on to count"
}

// redacted is a URL without what may be a secret in it.
func redacted(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "?"
	}
	u.RawQuery, u.Fragment = "", ""
	return u.Redacted()
}

// Check reports what is wrong with the URL, without a request.
func (j *JWKS) Check() error {
	u, err := url.Parse(j.URL)
	if err != nil || u.Host == "" {
		return errors.New("the URL of a JWK Set is like https://issuer.example/.well-known/jwks.json")
	}
	return checkScheme(u)
}

// checkScheme refuses URLs whose answer somebody on the way can change.
func checkScheme(u *url.URL) error {
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if u.Scheme == "https" || u.Scheme == "http" && local {
		return nil
	}
	return errors.New("keys are fetched by https only, or by http from this machine: else whoever is on the way can sign tokens")
}

// fetch fetches and reads the set.
func (j *JWKS) fetch() (Keys, string, error) {
	if err := j.Check(); err != nil {
		return Keys{}, "", err
	}
	ctx := context.Background()
	if timeout := orDefault(j.Timeout, defaultTimeout); timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	body, err := j.get(ctx)
	if err != nil {
		return Keys{}, "", withoutURL(err)
	}
	return parsePublished(body)
}

// withoutURL takes the URL off an error of package http, which may have a secret in
// its query.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

func (j *JWKS) get(ctx context.Context) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, j.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	client := &http.Client{Transport: j.Transport, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if len(via) >= 5 {
			return errors.New("more than 5 redirects")
		}
		return checkScheme(next.URL)
	}}
	if j.Transport == nil {
		// One request in ten minutes is not worth a connection that stays.
		client.Transport = &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, ForceAttemptHTTP2: true}
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %d", resp.StatusCode)
	}
	longest := orDefault(j.MaxBytes, defaultMaxBytes)
	if longest == 0 {
		return io.ReadAll(resp.Body)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, longest+1))
	if err == nil && int64(len(body)) > longest {
		return nil, fmt.Errorf("the answer is longer than %d bytes", longest)
	}
	return body, err
}

// parsePublished reads a set that somebody publishes for all who may want it: there
// may be keys in it for others. A secret in it is known to all, and no key.
func parsePublished(text []byte) (keys Keys, ids string, err error) {
	members, set, err := jwkMembers(text)
	if err != nil {
		return Keys{}, "", err
	}
	if !set {
		return Keys{}, "", errors.New("it has no keys, as a JWK Set has them (RFC 7517, 5)")
	}
	var known []string
	var unusable error
	for i, member := range members {
		k, err := parseMember(member)
		if _, secret := k.material.([]byte); err == nil && secret {
			err = errors.New("a secret that is published is none")
		}
		if err != nil {
			unusable = fmt.Errorf("key %d: %w", i+1, err)
			continue
		}
		keys.list = append(keys.list, k)
		known = append(known, k.id)
	}
	switch {
	case len(keys.list) == 0 && unusable != nil:
		return Keys{}, "", fmt.Errorf("no key in the JWK Set can be used here; %w", unusable)
	case len(keys.list) == 0:
		return Keys{}, "", errors.New("the JWK Set is empty")
	case len(keys.list) > maxKeys:
		return Keys{}, "", fmt.Errorf("there are %d keys, more than %d", len(keys.list), maxKeys)
	}
	return keys, strings.Join(known, " "), nil
}
