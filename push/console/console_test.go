package console_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/duplexgo/duplex/push"
	"github.com/duplexgo/duplex/push/console"
	"github.com/duplexgo/duplex/push/protocol"
)

func TestHandler(t *testing.T) {
	h := console.Handler()
	get := func(method, path string, header ...string) *http.Response {
		r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result()
	}
	for path, kind := range map[string]string{
		"/console":             "text/html; charset=utf-8",
		"/console/console.js":  "text/javascript; charset=utf-8",
		"/console/console.css": "text/css; charset=utf-8",
		"/console/icon.svg":    "image/svg+xml",
	} {
		resp := get("GET", path)
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != 200 || len(body) == 0 || resp.Header.Get("Content-Type") != kind {
			t.Errorf("%s: status %d, %d bytes of %s", path, resp.StatusCode, len(body), resp.Header.Get("Content-Type"))
		}
		if policy := resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none';") || !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q", path, policy)
		}
		tag := resp.Header.Get("ETag")
		if resp := get("GET", path, "If-None-Match", tag); resp.StatusCode != 304 || tag == "" {
			t.Errorf("%s: asked again with its tag %q: status %d", path, tag, resp.StatusCode)
		}
	}
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/console/", 302},
		{"GET", "/console/duplex.js", 200},
		{"GET", "/console/index.html", 404},
		{"GET", "/console/console.go", 404},
		{"GET", "/console/..%2fconsole.go", 404},
		{"POST", "/console", 405},
	} {
		if resp := get(test.method, test.path); resp.StatusCode != test.status {
			t.Errorf("%s %s: status %d, want %d", test.method, test.path, resp.StatusCode, test.status)
		}
	}
}

// chromium returns the browser's path. Without one the test is skipped, except
// where CI is set: there it must run.
func chromium(t *testing.T) string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const missing = "no Chromium is installed (chromium, chromium-browser or google-chrome): the page is not tested"
	if os.Getenv("CI") != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// chrome is started by the first test that wants a browser, and serves all of them.
var chrome struct {
	sync.Once
	ctx  context.Context
	err  error
	stop func()
}

func TestMain(m *testing.M) {
	code := m.Run()
	if chrome.stop != nil {
		chrome.stop()
	}
	os.Exit(code)
}

// theBrowser returns the browser, which can reach this machine only.
func theBrowser(t *testing.T) context.Context {
	path, b := chromium(t), &chrome
	b.Do(func() {
		var folder string
		if folder, b.err = os.MkdirTemp("", "console"); b.err != nil {
			return
		}
		options := append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.ExecPath(path),
			chromedp.UserDataDir(folder),
			chromedp.NoSandbox, // which needs rights that containers do not have
			chromedp.DisableGPU,
			chromedp.Flag("disable-quic", true),
			chromedp.Flag("disable-component-update", true),
			chromedp.Flag("disable-background-networking", true),
			chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
		)
		ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
		b.ctx, _ = chromedp.NewContext(ctx)
		b.stop = func() {
			chromedp.Cancel(b.ctx) // waits, so that its folder can be removed
			cancel()
			os.RemoveAll(folder)
		}
		b.err = chromedp.Do(b.ctx)
	})
	if b.err != nil {
		t.Fatalf("starting Chromium: %v", b.err)
	}
	return b.ctx
}

// A page is a tab of the browser.
type page struct {
	t    *testing.T
	ctx  context.Context
	name string
}

// open opens a tab. What goes wrong in its scripts, and what its policy forbids,
// fails the test.
func open(t *testing.T, browser context.Context, name, url string) *page {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	messages := chromedp.Console(ctx)
	var faults sync.WaitGroup
	faults.Go(func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			// That the server cannot be reached, or lets nobody in, is a part of the test.
			reach := m.Source == "network" || strings.Contains(m.Text, "WebSocket connection") || strings.HasPrefix(m.Text, "Access to fetch")
			if !reach && (m.Type == chromedp.ConsoleException || m.Type == chromedp.ConsoleError || m.Source == "security") {
				t.Errorf("tab %s: %s: %s", name, m.Type, m.Text)
			}
		}
	})
	t.Cleanup(func() { cancel(); faults.Wait() })
	p := &page{t, ctx, name}
	p.do(chromedp.Navigate(url))
	return p
}

func (p *page) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatalf("tab %s: %v", p.name, err)
	}
}

// eval returns the value of an expression in the page.
func (p *page) eval(expression string) string {
	p.t.Helper()
	s, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		p.t.Fatalf("tab %s: %s: %v", p.name, expression, err)
	}
	return s
}

// until waits until an expression is true in the page. An error counts as not true
// yet: while a page is being loaded there is nothing to ask.
func (p *page) until(expression string) {
	p.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		yes, err := chromedp.Run(p.ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
		if yes && err == nil {
			return
		}
		if time.Now().After(deadline) || p.ctx.Err() != nil {
			p.t.Fatalf("tab %s: not true: %s (%v)\nthe page shows:\n%s", p.name, expression, err, p.eval(`document.body.innerText`))
		}
	}
}

func (p *page) untilState(state string) {
	p.t.Helper()
	p.until(fmt.Sprintf(`document.getElementById("line").dataset.state === %q`, state))
}

// untilShown waits until the chosen channel shows exactly these messages at its
// end.
func (p *page) untilShown(data ...string) {
	p.t.Helper()
	p.until(fmt.Sprintf(`[...document.querySelectorAll("#scroll .data")].slice(-%d).map(e => e.innerText).join("|") === %q`, len(data), strings.Join(data, "|")))
}

// text returns the texts of all elements that a selector finds.
func (p *page) text(selector string) string {
	p.t.Helper()
	return p.eval(fmt.Sprintf(`[...document.querySelectorAll(%q)].map(e => e.innerText).join("|")`, selector))
}

func (p *page) keys(id chromedp.ID, text string) {
	p.t.Helper()
	p.do(chromedp.SendKeys(id, text))
}

// click clicks the element that has the text.
func (p *page) click(tag, text string) {
	p.t.Helper()
	p.do(chromedp.Click(chromedp.Search(fmt.Sprintf(`//%s[contains(., %q)]`, tag, text))))
}

// enter types a text into the message's field, and Enter. SendKeys cannot send the
// Enter of a field that does not want it as a line break.
func (p *page) enter(text string) {
	p.t.Helper()
	p.keys("text", text)
	p.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) (err error) {
		for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeRawKeyDown, input.DispatchKeyEventTypeKeyUp} {
			_, e := cdp.Call(ctx, t, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: kind, Key: "Enter", Code: "Enter", WindowsVirtualKeyCode: 13})
			err = errors.Join(err, e)
		}
		return err
	}))
}

// write sends what is in the field and this text.
func (p *page) write(text string) {
	p.t.Helper()
	p.enter(text)
	p.until(`document.getElementById("text").value === ""`)
}

// A host is a push server on a port that it keeps when it is stopped and started
// again, and from which its lines can be cut.
type host struct {
	t    *testing.T
	addr string
	push *push.Server
	http *http.Server

	mu    sync.Mutex
	conns map[*net.TCPConn]bool // a second way to each
	away  bool                  // connections are cut as soon as they come
	paths map[string]bool       // that are blocked, as by a proxy that does not like them
}

// ServeHTTP is the way to the push server.
func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	blocked, server := h.paths[r.URL.Path], h.push
	h.mu.Unlock()
	if blocked {
		http.Error(w, "blocked", http.StatusBadGateway)
		return
	}
	server.ServeHTTP(w, r)
}

// block lets nobody pass to these paths any more, and to all others.
func (h *host) block(paths ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.paths = make(map[string]bool)
	for _, path := range paths {
		h.paths[path] = true
	}
}

func newHost(t *testing.T, addr string) *host {
	h := &host{t: t, addr: addr, conns: make(map[*net.TCPConn]bool)}
	h.start()
	t.Cleanup(h.stop)
	return h
}

func (h *host) start() {
	h.t.Helper()
	listener, err := net.Listen("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.addr = listener.Addr().String()
	h.mu.Lock()
	h.push = &push.Server{Console: console.Handler(), LiteralHosts: true, HistoryMessages: 100_000}
	h.mu.Unlock()
	h.http = &http.Server{Handler: h}
	server := h.http
	go server.Serve(&cuttable{listener, h})
}

func (h *host) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := errors.Join(h.push.Shutdown(ctx), h.http.Close()); err != nil {
		h.t.Errorf("stopping the server: %v", err)
	}
}

// cut breaks all connections and, until it is called with false, new ones too.
func (h *host) cut(away bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.away = away
	for c := range h.conns {
		c.CloseRead()
		c.CloseWrite()
		c.Close()
	}
	clear(h.conns)
}

type cuttable struct {
	net.Listener
	host *host
}

func (l *cuttable) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.host.mu.Lock()
	defer l.host.mu.Unlock()
	if l.host.away {
		c.Close()
	}
	// The server goes on with a descriptor of its own, and closes this one.
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		return c, nil // closed above
	}
	defer f.Close()
	if second, err := net.FileConn(f); err == nil {
		l.host.conns[second.(*net.TCPConn)] = true
	}
	return c, nil
}

// publish publishes as a backend does, or, where the server is cut off, from
// within it.
func (h *host) publish(channel, kind, data string) {
	h.t.Helper()
	if h.away {
		if _, err := h.push.Publish(h.t.Context(), channel, []byte(data)); err != nil {
			h.t.Fatal(err)
		}
		return
	}
	resp, err := http.Post("http://"+h.addr+"/channels/"+channel, kind, strings.NewReader(data))
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		h.t.Fatalf("POST: status %d", resp.StatusCode)
	}
}

// The page's main job, in two tabs.
func TestPage(t *testing.T) {
	browser := theBrowser(t)
	host := newHost(t, "127.0.0.1:0")
	url := "http://" + host.addr

	one := open(t, browser, "one", url+"/")
	one.until(`location.pathname === "/console"`)
	one.untilState("open")
	one.keys("join-name", "news/of today\r")
	one.until(`location.hash === "#news%2Fof%20today"`)
	two := open(t, browser, "two", url+"/console#other,news%2Fof%20today")
	two.untilState("open")
	two.click("button", "news/of today")
	two.until(`document.getElementById("title").innerText === "news/of today"`)
	both := []*page{one, two}

	t.Run("what one writes both get", func(t *testing.T) {
		one.write("hello <b>two</b> & co")
		two.untilShown("hello <b>two</b> & co")
		one.untilShown("hello <b>two</b> & co")
		two.write("hello one")
		one.untilShown("hello <b>two</b> & co", "hello one")
	})

	t.Run("what a backend posts both get", func(t *testing.T) {
		host.publish("news%2Fof%20today", "application/json", `{"big":12345678901234567890,"text":"<img src=x onerror=alert(1)>","list":[1,2.50]}`)
		want := "{\n  \"big\": 12345678901234567890,\n  \"text\": \"<img src=x onerror=alert(1)>\",\n  \"list\": [1,2.50]\n}"
		one.untilShown("hello one", want)
		two.untilShown("hello one", want)
		if n := two.eval(`String(document.querySelectorAll("#scroll img, #scroll b").length)`); n != "0" {
			t.Errorf("messages have become %s elements", n)
		}
	})

	t.Run("the command line is right", func(t *testing.T) {
		if _, err := exec.LookPath("curl"); err != nil {
			t.Skip("no curl is installed")
		}
		line := one.text("#curl")
		if out, err := exec.CommandContext(t.Context(), "sh", "-c", line).Output(); err != nil || !strings.Contains(string(out), "position") {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
		two.untilShown("Hello from a shell")
		one.untilShown("Hello from a shell")
	})

	t.Run("JSON", func(t *testing.T) {
		one.click("label", "JSON")
		one.enter(`{"a":`)
		one.until(`document.getElementById("write-error").innerText.startsWith("This is not JSON")`)
		one.write(`98765432109876543210}`) // goes on where the text was left
		two.untilShown("Hello from a shell", `{"a":98765432109876543210}`)
		one.click("label", "Text")
	})

	t.Run("other channels count", func(t *testing.T) {
		host.publish("other", "", "1")
		host.publish("other", "", "2")
		two.until(`document.querySelector(".unread:not(:empty)")?.innerText === "2"`)
		two.until(`document.title.startsWith("(2) ")`)
	})

	t.Run("a reload keeps channels and history", func(t *testing.T) {
		two.do(chromedp.Reload())
		two.untilState("open")
		two.untilShown("Hello from a shell", `{"a":98765432109876543210}`)
		two.until(`document.getElementById("title").innerText === "news/of today"`)
	})

	t.Run("after a broken line they get what they missed", func(t *testing.T) {
		host.cut(true)
		for _, p := range both {
			p.until(`document.getElementById("line-more").innerText.startsWith("no connection (1006), back in")`)
		}
		for i := range 3 {
			host.publish("news/of today", "", fmt.Sprintf(`"missed %d"`, i))
		}
		host.cut(false)
		for _, p := range both {
			p.untilState("open")
			p.untilShown(`{"a":98765432109876543210}`, "missed 0", "missed 1", "missed 2")
			if notices := p.text("#scroll .notice"); notices != "" {
				t.Errorf("tab %s: %s", p.name, notices)
			}
		}
	})

	t.Run("after a restart they come back and say so", func(t *testing.T) {
		host.stop()
		one.until(`document.getElementById("line").dataset.state !== "open"`)
		one.enter("kept while the server is away")
		host.start()
		for _, p := range both {
			p.untilState("open")
			p.until(`document.querySelector("#scroll .warn")?.innerText.includes("started anew")`)
		}
		one.write("") // the text of before
		host.publish("news%2Fof%20today", "", "after the restart")
		for _, p := range both {
			p.untilShown("missed 2", "kept while the server is away", "after the restart")
		}
	})
}

// Who is here, and over which transport the page is.
func TestPresenceAndTransport(t *testing.T) {
	browser := theBrowser(t)
	host := newHost(t, "127.0.0.1:0")
	url := "http://" + host.addr + "/console"
	ann := open(t, browser, "ann", url+"?user=ann#news")
	ann.untilState("open")
	ann.until(`document.getElementById("transport").innerText === "WebSocket"`)
	ann.until(`document.getElementById("who").innerText === "1 here ann"`)
	for transport, shown := range map[string]string{"sse": "server-sent events", "poll": "long polling"} {
		p := open(t, browser, transport, url+"?transport="+transport+"#news")
		p.untilState("open")
		p.until(fmt.Sprintf(`document.getElementById("transport").innerText === %q`, shown))
		p.write("by " + transport)
		ann.untilShown("by " + transport)
		p.untilShown("by " + transport)
		p.until(`document.getElementById("who-names").innerText === "ann"`)
	}
	ben := open(t, browser, "ben", url+"?user=ben#news")
	ben.until(`document.getElementById("who-names").innerText === "ann, ben"`)
	ann.until(`document.getElementById("who-names").innerText === "ann, ben"`)
	// A page that is left may be kept, to go back to: its line must not be.
	ben.do(chromedp.Navigate("about:blank"))
	ann.until(`document.getElementById("who-names").innerText === "ann"`)
	ben.do(chromedp.Evaluate[chromedp.Void](`void setTimeout(() => history.back(), 50)`))
	ann.until(`document.getElementById("who-names").innerText === "ann, ben"`)
	ben.untilState("open")
	ben.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("leave").click()`))
	ann.until(`document.getElementById("who").innerText === "2 here ann"`) // the stream is here, too; who polls is not
}

// A server that asks for a token: so does the page.
func TestToken(t *testing.T) {
	browser := theBrowser(t)
	server := httptest.NewServer(&push.Server{
		Console: console.Handler(),
		Authorize: func(_ *http.Request, token string) (push.Grant, error) {
			if token != "good" {
				return push.Grant{}, &protocol.Error{Code: protocol.Unauthorized, Message: "no good token"}
			}
			return push.Grant{User: "ann", Subscribe: push.AnyChannel, Publish: func(string) bool { return false }, Presence: push.AnyChannel}, nil
		},
	})
	t.Cleanup(server.Close)
	p := open(t, browser, "token", server.URL+"/console#news")
	p.untilState("closed")
	p.until(`document.activeElement.id === "token"`)
	p.keys("token", "bad\r")
	p.untilState("closed")
	p.until(`document.getElementById("token").value === "" && !document.getElementById("show").hidden`)
	p.keys("token", "good\r")
	p.untilState("open")
	p.until(`document.getElementById("show").hidden`)
	p.until(`document.getElementById("who").innerText === "1 here ann"`)
	p.enter("not allowed")
	p.until(`document.getElementById("write-error").innerText.includes("may not publish") && document.getElementById("text").value === "not allowed"`)
	p.do(chromedp.Reload())
	p.untilState("open")
	if address := p.eval(`location.href`); strings.Contains(address, "good") {
		t.Errorf("the token is in the address %s", address)
	}
}
