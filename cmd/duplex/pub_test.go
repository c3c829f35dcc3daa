package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A posted is a request that a server got.
type posted struct{ path, contentType, body, header, host string }

// postServer notes requests and answers them all with f.
func postServer(t *testing.T, got *posted, f http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*got = posted{r.Method + " " + r.URL.EscapedPath(), r.Header.Get("Content-Type"), string(body), r.Header.Get("X-A"), r.Host}
		f(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func ok(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"position":"e.1"}`) }

func TestPub(t *testing.T) {
	const asJSON, asText = "application/json", "text/plain; charset=utf-8"
	var got posted
	url := postServer(t, &got, ok)
	socket := "ws" + strings.TrimPrefix(url, "http")
	for _, test := range []struct {
		name  string
		args  []string
		stdin string
		want  posted
	}{
		{"JSON", []string{url, "news", `{"a": 1}`}, "", posted{"POST /channels/news", asJSON, `{"a": 1}`, "", ""}},
		{"JSON string", []string{url, "news", `"hi"`}, "", posted{"POST /channels/news", asJSON, `"hi"`, "", ""}},
		{"text", []string{url, "news", "hello\n"}, "", posted{"POST /channels/news", asText, "hello\n", "", ""}},
		{"empty text", []string{url, "news", ""}, "", posted{"POST /channels/news", asText, "", "", ""}},
		{"text like a flag", []string{url, "news", "--", "--x"}, "", posted{"POST /channels/news", asText, "--x", "", ""}},
		{"input", []string{url, "news", "-"}, "one\ntwo\n", posted{"POST /channels/news", asText, "one\ntwo", "", ""}},
		{"input, CR LF", []string{url, "news", "-"}, "one\r\n", posted{"POST /channels/news", asText, "one", "", ""}},
		{"input without a dash", []string{url, "news"}, "[1,\n2]\n", posted{"POST /channels/news", asJSON, "[1,\n2]", "", ""}},
		{"connect endpoint", []string{socket + "/connect", "news", "x"}, "", posted{"POST /channels/news", asText, "x", "", ""}},
		{"mounted below a path", []string{url + "/push/", "news", "x"}, "", posted{"POST /push/channels/news", asText, "x", "", ""}},
		{"mounted, connect endpoint", []string{socket + "/a%2Fb/connect", "news", "x"}, "", posted{"POST /a%2Fb/channels/news", asText, "x", "", ""}},
		{"channel with everything", []string{url, "a/b?c#d%20 ü", "x"}, "", posted{"POST /channels/a%2Fb%3Fc%23d%2520%20%C3%BC", asText, "x", "", ""}},
		{"channel of dots", []string{url, "..", "x"}, "", posted{"POST /channels/%2E%2E", asText, "x", "", ""}},
		{"headers", []string{url, "news", "1", "-H", "X-A: b", "-H", "Content-Type: text/plain", "-H", "Host: h"}, "", posted{"POST /channels/news", "text/plain", "1", "b", "h"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			result := duplex(t, strings.NewReader(test.stdin), append([]string{"pub"}, test.args...)...)
			if result.code != exitOK || result.stdout != "e.1\n" || result.stderr != "" {
				t.Fatalf("%+v", result)
			}
			if test.want.host == "" {
				got.host = ""
			}
			if got != test.want {
				t.Errorf("the server got %+v, want %+v", got, test.want)
			}
		})
	}
}

// Nothing is published by halves: what cannot be published whole is refused.
func TestPubRefusesData(t *testing.T) {
	var got posted
	url := postServer(t, &got, ok)
	for name, test := range map[string]struct{ stdin, want string }{
		"too long":  {strings.Repeat("x", 101), "holds more than 100, and nothing was published: raise --max-message"},
		"not UTF-8": {"a\xff", "neither JSON nor UTF-8 text, and was not published"},
	} {
		result := duplex(t, strings.NewReader(test.stdin), "pub", url, "news", "-", "--max-message", "100")
		if result.code != exitFailure || !strings.Contains(result.stderr, test.want) || strings.Count(result.stderr, "\n") != 1 {
			t.Errorf("%s: %+v", name, result)
		}
	}
	if got.path != "" {
		t.Errorf("the server got %+v", got)
	}
	if result := duplex(t, strings.NewReader(strings.Repeat("x", 100)), "pub", url, "news", "-", "--max-message", "100"); result.code != exitOK {
		t.Errorf("as long as allowed: %+v", result)
	}
}

func TestPubRefused(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"a problem", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			json.NewEncoder(w).Encode(map[string]any{"title": "t", "detail": "too \x1b[31mbig"})
		}, `the server answered 413 (Request Entity Too Large), too \x1b[31mbig: send less, or raise the server's limit`},
		{"a redirect is not followed", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusSeeOther) },
			"the server answered 303 (See Other), to /x: this redirect is not followed, use the URL that it leads to"},
		{"another kind of server", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") },
			"the answer holds no position, so this is no push server: check the URL"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got posted
			url := postServer(t, &got, test.answer)
			want := result{exitFailure, "", "duplex pub: " + url + ": " + test.want + "\n"}
			if result := duplex(t, nil, "pub", url, "news", "x"); result != want {
				t.Errorf("%+v, want %+v", result, want)
			}
		})
	}
}

func TestPubTimeout(t *testing.T) {
	release := make(chan struct{})
	var got posted
	url := postServer(t, &got, func(http.ResponseWriter, *http.Request) { <-release })
	t.Cleanup(func() { close(release) })
	result := duplex(t, nil, "pub", url, "news", "x", "--timeout", "50ms")
	if result.code != exitFailure || !strings.Contains(result.stderr, "no answer in time") {
		t.Errorf("%+v", result)
	}
}

func TestPubToServerWithoutTLS(t *testing.T) {
	_, url := startServe(t)
	r := duplex(t, nil, "pub", "https"+strings.TrimPrefix(url, "http"), "news", "x")
	if r.code != exitFailure || !strings.Contains(r.stderr, "does not speak TLS: try ws:// or http://") {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
}
