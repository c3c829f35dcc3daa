package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/duplexgo/duplex/websocket"
)

// What one line may send is limited, in frames and in bytes a second.
func TestServeRates(t *testing.T) {
	for _, args := range [][]string{{"--frame-rate", "1"}, {"--byte-rate", "1KiB"}} {
		t.Run(args[0], func(t *testing.T) {
			_, url := startServe(t, args...)
			c := dial(t, "ws"+strings.TrimPrefix(url, "http")+"/connect", nil)
			command := []byte(`{"id":1,"command":"ping"}` + strings.Repeat(" ", 4000))
			for range 100 { // more than ten seconds' worth
				if c.Write(t.Context(), websocket.Text, command) != nil {
					break
				}
			}
			var err error
			for err == nil {
				_, _, err = c.Read(t.Context())
			}
			wantCode(t, err, websocket.ClosePolicyViolation)
		})
	}
}

// Who may come, and with how many lines.
func TestServeAddresses(t *testing.T) {
	for _, test := range []struct {
		args   []string
		status int // of a second line
	}{
		{[]string{"--deny", "127.0.0.0/8"}, http.StatusForbidden},
		{[]string{"--allow", "10.0.0.0/8"}, http.StatusForbidden},
		{[]string{"--count-private", "--max-lines-per-address", "1"}, http.StatusTooManyRequests},
		{[]string{"--max-lines-per-address", "1"}, http.StatusOK}, // private ones are not counted
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			_, url := startServe(t, test.args...)
			if test.status != http.StatusForbidden {
				dial(t, "ws"+strings.TrimPrefix(url, "http")+"/connect", nil)
			}
			req, err := http.NewRequestWithContext(t.Context(), "GET", url+"/events?channel=news", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != test.status || (resp.Header.Get("Retry-After") != "") != (test.status == http.StatusTooManyRequests) {
				t.Errorf("the answer is %s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
			}
		})
	}
}
