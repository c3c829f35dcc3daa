package console_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/duplexgo/duplex/js"
	"github.com/duplexgo/duplex/push"
)

// A page of another origin, as the README shows one, over every transport: it reads and
// publishes if its origin is let in, and does neither if not.
func TestOtherOrigin(t *testing.T) {
	browser := theBrowser(t)
	mux := http.NewServeMux()
	mux.Handle("/duplex.js", js.Handler())
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<!doctype html><title>elsewhere</title>")
	})
	pages := httptest.NewServer(mux)
	defer pages.Close()
	for _, c := range []struct {
		name    string
		origins []string
	}{
		{"let in", []string{pages.URL}},
		{"not let in", nil}, // not even the script, so that the page brings it along
	} {
		server := &push.Server{Script: js.Handler(), Origins: c.origins}
		web := httptest.NewServer(server)
		t.Cleanup(web.Close)
		for _, transport := range []string{"websocket", "sse", "poll"} {
			t.Run(c.name+" by "+transport, func(t *testing.T) {
				script := web.URL
				if c.origins == nil {
					script = pages.URL
				}
				p := open(t, browser, "elsewhere", pages.URL)
				p.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`void import("%[3]s/duplex.js").then(({connect}) => {
					window.got = [], window.failed = 0;
					window.line = connect("%[1]s/", {transports: [%[2]q]});
					line.addEventListener("state", ({detail}) => detail.name === "waiting" && failed++);
					line.subscribe("from/" + %[2]q, (data) => got.push(data), {history: 5});
					line.publish("from/" + %[2]q, {by: "a page"}).then(() => window.published = true, () => {});
				})`, web.URL, transport, script)))
				if c.origins != nil {
					p.until(`window.published && got.length === 1 && got[0].by === "a page"`)
					return
				}
				p.until(`window.failed > 0 && got.length === 0 && !window.published`)
			})
		}
		if c.origins == nil {
			for _, transport := range []string{"websocket", "sse", "poll"} {
				resp, err := http.Get(web.URL + "/channels/from%2F" + transport)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if want := `"messages":[]`; !strings.Contains(string(body), want) {
					t.Errorf("a page that was not let in has published by %s: %s", transport, body)
				}
			}
		}
	}
}

// The pages that the README and the first steps show get messages, from the address of
// another server.
func TestShownPages(t *testing.T) {
	browser := theBrowser(t)
	for _, document := range []string{"README.md", "docs/getting-started.md"} {
		text, err := os.ReadFile("../../" + document)
		if err != nil {
			t.Fatal(err)
		}
		block := regexp.MustCompile("(?s)```html\n(.*?)```").FindStringSubmatch(string(text))
		if block == nil {
			t.Fatalf("%s shows no page", document)
		}
		var api string
		pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, strings.ReplaceAll(block[1], "http://127.0.0.1:8080", api))
		}))
		defer pages.Close()
		server := &push.Server{Script: js.Handler(), Origins: []string{pages.URL}}
		web := httptest.NewServer(server)
		defer web.Close()
		defer server.Shutdown(t.Context())
		api = web.URL
		publish(t, server, "news", `"before"`)
		p := open(t, browser, document, pages.URL)
		p.until(`document.body.innerText === "before"`)
		publish(t, server, "news", `"after"`)
		p.until(`document.body.innerText === "before after"`)
	}
}
