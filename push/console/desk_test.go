package console_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/push"
	"github.com/duplexgo/duplex/push/console"
	"github.com/duplexgo/duplex/push/protocol"
)

func ask(srv *push.Server, method, path, body string) (int, string) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	srv.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func read[T any](t *testing.T, srv *push.Server, path string) (v T) {
	t.Helper()
	status, text := ask(srv, "GET", path, "")
	if err := json.Unmarshal([]byte(text), &v); err != nil || status != 200 {
		t.Fatalf("%s: status %d, %v: %s", path, status, err, text)
	}
	return v
}

type lookAnswer struct {
	Lines  map[string]int
	Totals struct {
		Published int
		Delivered map[string]int
		Resets    map[string]int
		Refusals  map[string]struct{ Count int }
	}
	Latest []struct{ Channel string }
}

// What the server does is counted, and those who were told before still are.
func TestLook(t *testing.T) {
	published, refused, resumed := 0, 0, 0
	srv := &push.Server{MaxMessage: 5, Hooks: push.Hooks{
		Published: func(int) { published++ },
		Refused:   func(protocol.Code) { refused++ },
		Resumed:   func() { resumed++ },
	}}
	console.Attach(t.Context(), srv)
	defer srv.Shutdown(context.Background())
	for _, channel := range []string{"b", "compare-x", "a"} {
		ask(srv, "POST", "/channels/"+channel, "1")
	}
	ask(srv, "POST", "/channels/a", "123456")
	ask(srv, "GET", "/poll?wait=0&channel=a&since=1.1", "")
	got := read[lookAnswer](t, srv, "/console/api/look")
	if got.Totals.Published != 3 || published != 3 || resumed != 1 || got.Totals.Delivered["poll"] != 1 || got.Totals.Resets["recreated"] != 1 {
		t.Errorf("%+v; published %d, resumed %d", got, published, resumed)
	}
	if got.Totals.Refusals["105"].Count != 1 || len(got.Lines) != 3 {
		t.Errorf("%+v", got)
	}
	list := func(path string) (names string) {
		for _, c := range read[lookAnswer](t, srv, path).Latest {
			names += c.Channel + " "
		}
		return names
	}
	for path, want := range map[string]string{
		"":                 "a b ", // not those of comparisons
		"?limit=1":         "a ",
		"?limit=0":         "",
		"?limit=x":         "a b ",
		"?prefix=compare-": "compare-x ",
		"?prefix=b":        "b ",
	} {
		if got := list("/console/api/look" + path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if status, _ := ask(srv, "GET", "/console/api/other", ""); status != 404 {
		t.Errorf("what is not there: %d", status)
	}
}

type historyAnswer struct {
	End   time.Time
	Every float64
	Most  int
	Lists map[string][]float64
}

// The last hour is remembered, and no more, until the context ends.
func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		srv := new(push.Server)
		console.Attach(ctx, srv)
		defer srv.Shutdown(context.Background())
		if got := read[historyAnswer](t, srv, "/console/api/history"); len(got.Lists["published"]) != 0 || got.Lists["published"] == nil {
			t.Errorf("at the beginning: %+v", got)
		}
		for range 50 {
			ask(srv, "POST", "/channels/a", "1")
		}
		time.Sleep(10*time.Second + time.Millisecond)
		synctest.Wait()
		ask(srv, "POST", "/channels/a", "1")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		got := read[historyAnswer](t, srv, "/console/api/history")
		if list := got.Lists["published"]; len(list) != 2 || list[0] != 5 || list[1] != 0.1 || got.Every != 10 {
			t.Errorf("%+v", got)
		}
		if len(got.Lists) != 8 {
			t.Errorf("lists of %d things", len(got.Lists))
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		got = read[historyAnswer](t, srv, "/console/api/history")
		for name, list := range got.Lists {
			if len(list) != 360 || got.Most != 360 {
				t.Errorf("after hours %d samples of %s", len(list), name)
			}
		}
		cancel()
		synctest.Wait()
		time.Sleep(time.Hour)
		if again := read[historyAnswer](t, srv, "/console/api/history"); !again.End.Equal(got.End) {
			t.Error("it goes on after the end of the context")
		}
	})
}

// Where there are keys, what the pages show is for administrators; the pages, which hold
// nothing, are for everybody.
func TestDeskIsForAdmins(t *testing.T) {
	srv := &push.Server{Authorize: onlyKey}
	console.Attach(t.Context(), srv)
	defer srv.Shutdown(context.Background())
	for _, path := range []string{"/console/api/look", "/console/api/history", "/console/api/comparisons"} {
		for token, want := range map[string]int{"": 401, "wrong": 401, "user": 403} {
			r := httptest.NewRequest("POST", path, nil)
			if path != "/console/api/comparisons" {
				r.Method = "GET"
			}
			if token != "" {
				r.Header.Set("Authorization", "Bearer "+token)
			}
			w := httptest.NewRecorder()
			srv.ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("%s with %q: %d, want %d", path, token, w.Code, want)
			}
		}
	}
	for _, path := range []string{"/console/look", "/console/compare"} {
		if status, text := ask(srv, "GET", path, ""); status != 200 || strings.Contains(text, "<script>") {
			t.Errorf("%s: %d", path, status)
		}
	}
}
