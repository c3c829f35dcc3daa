package token_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/duplexgo/duplex/push"
	"github.com/duplexgo/duplex/push/token"
)

// A server of one's own, which lets in a backend with an API key, and users with
// tokens.
func Example() {
	apiKeys, err := token.ParseAPIKeys([]byte("in-earnest-an-API-key-is-random"))
	if err != nil {
		log.Fatal(err)
	}
	secret, err := token.ParseKeys([]byte("32 bytes or more, random in earnest"))
	if err != nil {
		log.Fatal(err)
	}
	server := &push.Server{
		Authorize: token.Authorizer(&token.Verifier{Keys: secret}, apiKeys),
	}
	defer server.Shutdown(context.Background())

	ofUser, err := token.Claims{
		User:      "42",
		Expires:   time.Now().Add(time.Hour),
		Subscribe: []string{"news", "user:{user}"},
	}.Sign(secret)
	if err != nil {
		log.Fatal(err)
	}
	for _, try := range []struct{ method, channel, bearer string }{
		{"POST", "news", "in-earnest-an-API-key-is-random"},
		{"POST", "news", ofUser},
		{"GET", "user:42", ofUser},
		{"GET", "user:43", ofUser},
	} {
		r := httptest.NewRequestWithContext(context.Background(), try.method, "/channels/"+try.channel, strings.NewReader("hello"))
		r.Header.Set("Authorization", "Bearer "+try.bearer)
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		fmt.Println(try.method, try.channel, w.Code, http.StatusText(w.Code))
	}
	// Output:
	// POST news 200 OK
	// POST news 403 Forbidden
	// GET user:42 200 OK
	// GET user:43 403 Forbidden
}
