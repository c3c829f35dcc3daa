package console_test

import (
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

// recipes returns the pages of docs/cookbook.md by name.
func recipes(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/cookbook.md")
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string]string{}
	for _, block := range regexp.MustCompile("(?ms)^```html ([a-z]+)\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
		pages[block[1]] = block[2]
	}
	return pages
}

// The pages of the cook book do in a browser what the book says.
func TestCookbook(t *testing.T) {
	browser := theBrowser(t)
	pages := recipes(t)
	srv := &push.Server{Script: js.Handler()}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if page, ok := pages[strings.TrimPrefix(r.URL.Path, "/recipes/")]; ok {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			io.WriteString(w, page)
			return
		}
		srv.ServeHTTP(w, r)
	}))
	defer site.Close()
	defer srv.Shutdown(t.Context())
	visit := func(recipe, query string) *page {
		t.Helper()
		if pages[recipe] == "" {
			t.Fatalf("the book has no recipe %q", recipe)
		}
		return open(t, browser, recipe+query, site.URL+"/recipes/"+recipe+query)
	}
	publish := func(channel, data string) {
		t.Helper()
		if _, err := srv.Publish(t.Context(), channel, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}

	ann, bob := visit("chat", "?name=ann"), visit("chat", "?name=bob")
	ann.until(`document.querySelector("#who").textContent === "Here: ann, bob and 0 more"`)
	ann.until(`(document.forms[0].text.value = "tea?", document.forms[0].requestSubmit(), true)`)
	bob.until(`document.querySelector("#lines").textContent === "ann: tea?"`)

	publish("price:ACME", `{"price": 12.5}`)
	prices := visit("prices", "")
	prices.until(`document.querySelector("table").innerText.includes("12.50")`)
	publish("price:DUPL", `{"price": 7}`)
	prices.until(`document.querySelector("#DUPL").cells[1].textContent === "7.00"`)

	publish("user:42", `{"title": "one"}`)
	notes := visit("notifications", "")
	notes.until(`document.querySelector("ol").innerText === "one"`)
	notes.do(chromedp.Navigate("about:blank"))
	publish("user:42", `{"title": "two"}`) // while the page is closed
	notes.do(chromedp.Navigate(site.URL + "/recipes/notifications"))
	notes.until(`document.querySelector("ol").innerText === "two"`)

	publish("job:17", `{"percent": 30}`)
	job := visit("progress", "")
	job.until(`document.querySelector("output").textContent === "30 %" && document.querySelector("progress").value === 30`)
	publish("job:17", `{"percent": 100, "done": "ready"}`)
	job.until(`document.querySelector("output").textContent === "ready"`)

	here, there := visit("cursor", "?1"), visit("cursor", "?2")
	there.until(`(document.dispatchEvent(new PointerEvent("pointermove", {clientX: innerWidth / 2, clientY: innerHeight / 4})), true)`)
	here.until(`document.querySelector("i")?.style.left === "50vw" && document.querySelector("i").style.top === "25vh"`)
}
