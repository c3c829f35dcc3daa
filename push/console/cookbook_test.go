package console_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/duplexgo/duplex/js"
	"github.com/duplexgo/duplex/push"
	"github.com/duplexgo/duplex/push/token"
)

// A recipe is a page of docs/cookbook.md, and what the book says that its token needs.
type recipe struct{ page, rights, channel string }

func recipes(t *testing.T) map[string]recipe {
	t.Helper()
	text, err := os.ReadFile("../../docs/cookbook.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]recipe{}
	for _, m := range regexp.MustCompile("(?s)\n```html ([a-z]+)\n(.*?)\n```.*?\\sRights:\\s([a-z, ]+) (?:of|to)\\s`([^`]+)`").FindAllStringSubmatch(string(text), -1) {
		all[m[1]] = recipe{m[2], m[3], m[4]}
	}
	return all
}

// A kitchen is a push server and a site with the pages of the book.
type kitchen struct {
	*testing.T
	browser context.Context
	recipes map[string]recipe
	push    *push.Server
	site    string
}

// newKitchen serves the pages as the book says: from the server's own address or, with
// the server's URL in them, from another; and with tokens, of the rights that the book
// names, if the server has keys.
func newKitchen(t *testing.T, browser context.Context, elsewhere, keys bool) *kitchen {
	t.Helper()
	k := &kitchen{T: t, browser: browser, recipes: recipes(t), push: &push.Server{Script: js.Handler()}}
	api, options := "", ""
	secret, err := token.ParseKeys([]byte(strings.Repeat("secret", 6)))
	if err != nil {
		t.Fatal(err)
	}
	if keys {
		k.push.Authorize = token.Authorizer(&token.Verifier{Keys: secret}, nil)
		options = `, { token: () => fetch("/token").then((r) => r.text()) }`
	}
	pages := http.NewServeMux()
	pages.HandleFunc("GET /recipes/{name}", func(w http.ResponseWriter, r *http.Request) {
		page := strings.ReplaceAll(k.recipes[r.PathValue("name")].page, `"/duplex.js"`, `"`+api+`/duplex.js"`)
		if keys {
			page = strings.ReplaceAll(page, `, { user: name }`, "")
		}
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, strings.ReplaceAll(page, `connect("/"`, `connect("`+api+`/"`+options))
	})
	pages.HandleFunc("GET /token", func(w http.ResponseWriter, r *http.Request) {
		from, err := url.Parse(r.Referer())
		if err != nil {
			t.Error(err)
			return
		}
		recipe := k.recipes[path.Base(from.Path)]
		right := func(name string) []string {
			if strings.Contains(recipe.rights, name) {
				return []string{recipe.channel}
			}
			return nil
		}
		user := from.Query().Get("name")
		if user == "" {
			user = "42"
		}
		text, err := token.Claims{
			User: user, Expires: time.Now().Add(time.Hour),
			Subscribe: right("subscribe"), Publish: right("publish"), Presence: right("presence"),
		}.Sign(secret)
		if err != nil {
			t.Errorf("the rights of %s: %v", from.Path, err)
		}
		io.WriteString(w, text)
	})
	if !elsewhere {
		pages.Handle("/", k.push)
	}
	site := httptest.NewServer(pages)
	t.Cleanup(site.Close)
	k.site = site.URL
	if elsewhere {
		k.push.Origins = []string{site.URL}
		server := httptest.NewServer(k.push)
		t.Cleanup(server.Close)
		api = server.URL
	}
	t.Cleanup(func() { k.push.Shutdown(context.Background()) })
	return k
}

func (k *kitchen) visit(recipe, query string) *page {
	k.Helper()
	if k.recipes[recipe].page == "" {
		k.Fatalf("the book has no recipe %q with its rights", recipe)
	}
	return open(k.T, k.browser, recipe+query, k.site+"/recipes/"+recipe+query)
}

func (k *kitchen) publish(channel, data string) {
	k.Helper()
	if _, err := k.push.Publish(k.Context(), channel, []byte(data)); err != nil {
		k.Fatal(err)
	}
}

// The pages of the cook book do in a browser what the book says, wherever they come
// from, and whether the server asks for tokens or not.
func TestCookbook(t *testing.T) {
	browser := theBrowser(t)
	for _, way := range []struct {
		name            string
		elsewhere, keys bool
	}{
		{"own origin", false, false},
		{"own origin, tokens", false, true},
		{"other origin", true, false},
		{"other origin, tokens", true, true},
	} {
		t.Run(way.name, func(t *testing.T) { newKitchen(t, browser, way.elsewhere, way.keys).cook() })
	}
}

func (k *kitchen) cook() {
	ann, bob := k.visit("chat", "?name=ann"), k.visit("chat", "?name=bob")
	ann.until(`document.querySelector("#who").textContent === "Here: ann, bob"`)
	ann.until(`(document.forms[0].text.value = "tea?", document.forms[0].requestSubmit(), true)`)
	bob.until(`document.querySelector("#lines").textContent === "ann: tea?"`)

	k.publish("price:ACME", `{"price": 12.5}`)
	prices := k.visit("prices", "")
	prices.until(`document.querySelector("table").innerText.includes("12.50")`)
	k.publish("price:DUPL", `{"price": 7}`)
	prices.until(`document.querySelector("#DUPL").cells[1].textContent === "7.00"`)

	k.publish("user:42", `{"title": "one"}`)
	notes := k.visit("notifications", "")
	notes.until(`document.querySelector("ul").innerText === "one"`)
	notes.do(chromedp.Navigate("about:blank"))
	k.publish("user:42", `{"title": "two"}`) // while the page is closed
	notes.do(chromedp.Navigate(k.site + "/recipes/notifications"))
	notes.until(`document.querySelector("ul").innerText === "two"`)

	k.publish("job:17", `{"percent": 30}`)
	job := k.visit("progress", "")
	job.until(`document.querySelector("output").textContent === "30 %" && document.querySelector("progress").value === 30`)
	k.publish("job:17", `{"percent": 100, "done": "ready"}`)
	job.until(`document.querySelector("output").textContent === "ready"`)

	here, there := k.visit("cursor", "?1"), k.visit("cursor", "?2")
	there.until(`setInterval(() => document.dispatchEvent(new PointerEvent("pointermove", {clientX: innerWidth / 2, clientY: innerHeight / 4})), 50)`)
	here.until(`document.querySelector("i")?.style.left === "50vw" && document.querySelector("i").style.top === "25vh"`)
}

// The pages fit a phone and a desk, and keep to light or dark.
func TestCookbookFits(t *testing.T) {
	k := newKitchen(t, theBrowser(t), false, false)
	word := strings.Repeat("long", 40)
	for range 30 {
		k.publish("room:tea", fmt.Sprintf(`{"from": "ann", "text": %q}`, word))
	}
	k.publish("price:ACME", `{"price": 1234.5}`)
	k.publish("job:17", `{"percent": 30}`)
	k.publish("cursors:doc1", `{"id": 7, "x": 0.5, "y": 0.25}`)
	shows := map[string]string{
		"chat":          `document.querySelectorAll("li").length === 30`,
		"prices":        `document.body.innerText.includes("1234.50")`,
		"notifications": `document.body.innerText.includes("long")`,
		"progress":      `document.body.innerText.includes("30 %")`,
		"cursor":        `document.body.innerText.includes("pointer")`,
	}
	for name := range k.recipes {
		for scheme, colour := range map[string]string{"light": "rgb(0, 0, 0)", "dark": "rgb(255, 255, 255)"} {
			for _, width := range []int64{1280, 320} {
				t.Run(fmt.Sprintf("%s-%s-%d", name, scheme, width), func(t *testing.T) {
					k.publish("user:42", fmt.Sprintf(`{"title": %q}`, word)) // which is shown once
					p := open(t, k.browser, name, "about:blank")
					options := []chromedp.EmulateViewportOption{}
					if width < 500 {
						options = append(options, chromedp.EmulateMobile)
					}
					p.do(chromedp.EmulateViewport(width, 640, options...), preferScheme(scheme), chromedp.Navigate(k.site+"/recipes/"+name+"?name=bob"))
					p.until(shows[name])
					if wide := p.eval(`document.documentElement.scrollWidth + ", " + innerWidth`); wide != fmt.Sprintf("%d, %[1]d", width) {
						t.Errorf("the page and the window are %s wide", wide)
					}
					if got := p.eval(`getComputedStyle(document.body).color`); got != colour {
						t.Errorf("the text is %s", got)
					}
				})
			}
		}
	}
}
