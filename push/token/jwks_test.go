package token

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// An issuer answers requests for its keys without a network, so that time can be
// false.
type issuer struct {
	mu       sync.Mutex
	requests int
	body     string
	status   int           // 0: 200
	err      error         // instead of an answer
	tail     io.Reader     // of the body, if not nil
	stalls   bool          // after the header, until the request is given up
	open     chan struct{} // nil, or closed when answers may come
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.requests++
	body, status, err, open, tail, stalls := i.body, i.status, i.err, i.open, i.tail, i.stalls
	i.mu.Unlock()
	if open != nil {
		select {
		case <-open:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if err != nil {
		return nil, err
	}
	if status == 0 {
		status = http.StatusOK
	}
	var reader io.Reader = strings.NewReader(body)
	if tail != nil {
		reader = io.MultiReader(reader, tail)
	}
	if stalls {
		reader = io.MultiReader(reader, stalled{r.Context()})
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(reader), Request: r}, nil
}

type stalled struct{ ctx context.Context }

func (s stalled) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

// endless is a body without an end, and counts what is read of it.
type endless struct{ read int64 }

func (e *endless) Read(p []byte) (int, error) {
	e.read += int64(len(p))
	return copy(p, strings.Repeat(" ", len(p))), nil
}

// set changes what the issuer answers.
func (i *issuer) set(change func(*issuer)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change(i)
}

func (i *issuer) wantRequests(t *testing.T, want int) {
	t.Helper()
	synctest.Wait()
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.requests != want {
		t.Errorf("%d requests, want %d", i.requests, want)
	}
}

// An edge is an issuer and who verifies its tokens.
type edge struct {
	*testing.T
	*issuer
	*Verifier
	jwks *JWKS
	log  bytes.Buffer
}

func newEdge(t *testing.T, body string) *edge {
	e := &edge{T: t, issuer: &issuer{body: body}}
	e.jwks = &JWKS{URL: "https://issuer.example/jwks?secret=s", Transport: e.issuer, Log: slog.New(slog.NewTextHandler(&e.log, nil))}
	e.Verifier = &Verifier{Keys: e.jwks}
	return e
}

// verify verifies a token of a key and its id. want is nil or the error.
func (e *edge) verify(key, kid string, want error) {
	e.Helper()
	alg := map[string]jose.SignatureAlgorithm{"RSA": jose.RS256, "other RSA": jose.RS256, "P-256": jose.ES256, "Ed25519": jose.EdDSA}[key]
	if _, err := e.Verify(e.Context(), sign(e, alg, material()[key], kid, good0)); !errors.Is(err, want) {
		e.Errorf("a token of %s as %q: %v, want %v", key, kid, err, want)
	}
}

// bubble runs a test in false time. The keys are made outside: the generator of
// the first one belongs to the world.
func bubble(t *testing.T, test func(t *testing.T)) {
	material()
	synctest.Test(t, test)
}

// A new key is found when the first token of it comes, and an old one counts until
// the set is fetched without it.
func TestRotation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEdge(t, jwks(jwk("RSA", "1")))
		e.wantRequests(t, 0)
		for range 3 {
			e.verify("RSA", "1", nil)
		}
		e.wantRequests(t, 1)
		time.Sleep(defaultInterval)
		e.set(func(i *issuer) { i.body = jwks(jwk("RSA", "1"), jwk("P-256", "2")) })
		e.verify("P-256", "2", nil)
		e.wantRequests(t, 2)
		e.set(func(i *issuer) { i.body = jwks(jwk("P-256", "2")) })
		e.verify("RSA", "1", nil)
		time.Sleep(defaultRefresh)
		e.verify("RSA", "1", nil) // the last one that is not made to wait
		e.wantRequests(t, 3)
		e.verify("RSA", "1", ErrInvalid)
		e.verify("P-256", "2", nil)
		e.wantRequests(t, 3)
	})
}

// Tokens with made-up ids cost the issuer a request now and then.
func TestUnknownKidsAreNoFlood(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEdge(t, jwks(jwk("RSA", "1")))
		e.verify("RSA", "1", nil)
		for range 100 {
			e.verify("RSA", "x", ErrInvalid)
			time.Sleep(defaultInterval / 10)
		}
		e.wantRequests(t, 1+9)
		e.jwks.Interval = time.Hour
		for range 10 {
			e.verify("RSA", "x", ErrInvalid)
		}
		e.wantRequests(t, 10)
		e.jwks.Interval = -1
		for range 10 {
			e.verify("RSA", "x", ErrInvalid)
		}
		e.wantRequests(t, 20)
		time.Sleep(time.Hour)
		e.jwks.Refresh = -1
		e.verify("RSA", "1", nil)
		e.wantRequests(t, 20)
	})
}

// Without a first answer nobody gets in, and they are told to come back. After it,
// nothing that the issuer does takes the keys away.
func TestIssuerFails(t *testing.T) {
	failures := []struct {
		name string
		set  func(*issuer)
		want string
	}{
		{"down", func(i *issuer) { i.err = errors.New("connection refused") }, "connection refused"},
		{"an error", func(i *issuer) { i.status = 500; i.body = jwks(jwk("P-256", "2")) }, "the answer is 500"},
		{"no answer", func(i *issuer) { i.open = make(chan struct{}) }, "deadline exceeded"},
		{"slow", func(i *issuer) { i.stalls = true }, "deadline exceeded"},
		{"huge", func(i *issuer) {
			i.body = jwks(jwk("P-256", "2")) + strings.Repeat(" ", defaultMaxBytes)
		}, "longer than 262144 bytes"},
		{"garbage", func(i *issuer) { i.body = "<html>" }, "not a JSON object"},
		{"deep", func(i *issuer) { i.body = `{"keys":` + strings.Repeat("[", 200_000) }, "not a JSON object"},
		{"nothing", func(i *issuer) { i.body = "" }, "not a JSON object"},
		{"a single key", func(i *issuer) { i.body = jwk("P-256", "2") }, "it has no keys"},
		{"an empty set", func(i *issuer) { i.body = jwks() }, "JWK Set is empty"},
		{"no usable key", func(i *issuer) { i.body = jwks(octets(secret, "1"), jwk("P-384", "2")) }, "no key in the JWK Set can be used here; key 2: the curve"},
		{"too many keys", func(i *issuer) {
			i.body = jwks(strings.Split(strings.Repeat(jwk("P-256", "2")+"\n", maxKeys+1), "\n")[:maxKeys+1]...)
		}, "65 keys, more than 64"},
	}
	for _, f := range failures {
		t.Run(f.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				e := newEdge(t, jwks(jwk("RSA", "1")))
				f.set(e.issuer)
				begin := time.Now()
				e.verify("RSA", "1", ErrUnavailable)
				if took := time.Since(begin); took > defaultTimeout {
					t.Errorf("it took %v to fail", took)
				}
				if time.Since(begin) < defaultInterval {
					e.verify("RSA", "1", ErrUnavailable)
					e.wantRequests(t, 1)
				}
				*e.issuer = issuer{body: jwks(jwk("RSA", "1"))}
				time.Sleep(defaultInterval)
				e.verify("RSA", "1", nil)

				f.set(e.issuer)
				for range 10 {
					time.Sleep(defaultRefresh)
					e.verify("RSA", "1", nil)
				}
				time.Sleep(defaultInterval)
				e.verify("P-256", "2", ErrUnavailable) // it may be a new key
				e.verify("RSA", "1", nil)
				time.Sleep(defaultTimeout) // what goes on ends
				synctest.Wait()
				if !strings.Contains(e.log.String(), f.want) {
					t.Errorf("the log is %s, want %s", &e.log, f.want)
				}
				if strings.Contains(e.log.String(), "secret=") {
					t.Errorf("the log has the query of the URL: %s", &e.log)
				}
			})
		})
	}
}

// The limits are settings, and negative ones are none.
func TestJWKSSettings(t *testing.T) {
	set := jwks(jwk("RSA", "1"))
	n := int64(len(set))
	for _, test := range []struct {
		name    string
		limit   int64 // MaxBytes
		timeout time.Duration
		change  func(*issuer)
		want    error
		took    time.Duration
	}{
		{"as long as may be", n, 0, func(*issuer) {}, nil, 0},
		{"too long", n - 1, 0, func(*issuer) {}, ErrUnavailable, 0},
		{"of any length", -1, 0, func(i *issuer) { i.body += strings.Repeat(" ", defaultMaxBytes) }, nil, 0},
		{"no answer for a second", 0, time.Second, func(i *issuer) { i.open = make(chan struct{}) }, ErrUnavailable, time.Second},
		{"half an answer for a second", 0, time.Second, func(i *issuer) { i.stalls = true }, ErrUnavailable, time.Second},
		{"an answer after an hour", 0, -1, func(i *issuer) {
			i.open = make(chan struct{})
			time.AfterFunc(time.Hour, func() { close(i.open) })
		}, nil, time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				e := newEdge(t, set)
				e.jwks.MaxBytes, e.jwks.Timeout = test.limit, test.timeout
				test.change(e.issuer)
				begin := time.Now()
				e.verify("RSA", "1", test.want)
				if took := time.Since(begin); took != test.took {
					t.Errorf("it took %v, want %v", took, test.took)
				}
			})
		})
	}
	bubble(t, func(t *testing.T) {
		e := newEdge(t, set)
		body := new(endless)
		e.tail = body
		e.verify("RSA", "1", ErrUnavailable)
		if body.read > 2*defaultMaxBytes {
			t.Errorf("of a body without an end, %d bytes were read", body.read)
		}
		e.tail = nil
		e.jwks.Refresh = time.Minute
		time.Sleep(defaultInterval)
		e.verify("RSA", "1", nil)
		e.wantRequests(t, 2)
		time.Sleep(time.Minute - time.Second)
		e.verify("RSA", "1", nil)
		e.wantRequests(t, 2)
		time.Sleep(time.Second)
		e.verify("RSA", "1", nil)
		e.wantRequests(t, 3)
	})
}

// Keys in the set that are for others do not get in the way of those that are not.
func TestPublishedSet(t *testing.T) {
	bubble(t, func(t *testing.T) {
		private := string(must((&jose.JSONWebKey{Key: material()["other RSA"], KeyID: "private"}).MarshalJSON()))
		encryption := string(must(jose.JSONWebKey{Key: material()["other RSA"].Public(), KeyID: "enc", Use: "enc"}.MarshalJSON()))
		e := newEdge(t, jwks(`{"kty":"new"}`, `7`, octets(secret, "secret"), private, encryption, jwk("P-384", "384"), jwk("Ed25519", "1"), jwk("RSA", "2")))
		e.verify("Ed25519", "1", nil)
		e.verify("RSA", "2", nil)
		e.verify("RSA", "", nil)
		e.verify("other RSA", "private", ErrInvalid)
		e.verify("other RSA", "enc", ErrInvalid)
		_, err := e.Verify(t.Context(), sign(t, jose.HS256, []byte(secret), "secret", good0))
		wantError(t, err, ErrInvalid, "no key of its kid")
		e.wantRequests(t, 1)
	})
}

// All who come while the keys are fetched wait for the same answer; one who gives up
// leaves it to the others.
func TestTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEdge(t, jwks(jwk("RSA", "1")))
		e.set(func(i *issuer) { i.open = make(chan struct{}) })
		token := sign(t, jose.RS256, material()["RSA"], "1", good0)
		ctx, giveUp := context.WithCancel(t.Context())
		impatient := make(chan error)
		go func() {
			_, err := e.Verify(ctx, token)
			impatient <- err
		}()
		synctest.Wait()
		patient := make(chan error)
		for range 10 {
			go func() {
				_, err := e.Verify(t.Context(), token)
				patient <- err
			}()
		}
		synctest.Wait()
		giveUp()
		if err := <-impatient; !errors.Is(err, ErrUnavailable) {
			t.Errorf("the one who gave up: %v", err)
		}
		close(e.open)
		for range 10 {
			if err := <-patient; err != nil {
				t.Error(err)
			}
		}
		e.wantRequests(t, 1)
	})
}

func TestURL(t *testing.T) {
	for url, want := range map[string]bool{
		"https://issuer.example/jwks": true,
		"http://127.0.0.1:80/jwks":    true,
		"http://[::1]/jwks":           true,
		"http://localhost/jwks":       true,
		"http://issuer.example/jwks":  false,
		"http://10.0.0.1/jwks":        false,
		"file:///etc/passwd":          false,
		"issuer.example/jwks":         false,
		"":                            false,
		"https://":                    false,
		"http://localhost.example/":   false,
		"http://\x00":                 false,
	} {
		if err := (&JWKS{URL: url}).Check(); (err == nil) != want {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// Over a network: the answer may come by way of redirects, but never by one that
// somebody could change.
func TestRedirects(t *testing.T) {
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/jwks":
			io.WriteString(w, jwks(jwk("RSA", "1")))
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		default:
			http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusFound)
		}
	}))
	defer issuer.Close()
	for path, want := range map[string]string{
		"/jwks":                               "",
		"/to?to=/jwks":                        "",
		"/round":                              "more than 5 redirects",
		"/to?to=http://issuer.example/jwks":   "by https only",
		"/to?to=file:///etc/hostname":         "by https only",
		"/to?to=http://169.254.169.254/token": "by https only",
	} {
		_, _, err := (&JWKS{URL: issuer.URL + path}).fetch()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}
