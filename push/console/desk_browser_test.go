package console_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/duplexgo/duplex/push"
	"github.com/duplexgo/duplex/push/compare"
	"github.com/duplexgo/duplex/push/console"
	"github.com/duplexgo/duplex/push/protocol"
	"github.com/duplexgo/duplex/websocket"
)

// newDesk serves a push server with its desk, and returns its URL.
func newDesk(t *testing.T, srv *push.Server) string {
	ctx, cancel := context.WithCancel(context.Background())
	desk := console.Attach(ctx, srv)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hs := &http.Server{Handler: desk.Count(srv)}
	desk.Watch(hs)
	go hs.Serve(listener)
	t.Cleanup(func() {
		cancel()
		srv.Shutdown(context.Background())
		hs.Close()
	})
	return "http://" + listener.Addr().String()
}

// onlyKey lets the API key "admin" do everything and a token "user" read.
func onlyKey(_ *http.Request, token string) (push.Grant, error) {
	switch token {
	case "admin":
		return push.FullGrant(), nil
	case "user":
		return push.Grant{Subscribe: push.AnyChannel}, nil
	}
	return push.Grant{}, &protocol.Error{Code: protocol.Unauthorized, Message: "no good token"}
}

// The figures of the page are those of the server, and say what is so of any network:
// polling asks most and is late, the others ask less and are not.
func TestCompare(t *testing.T) {
	browser := theBrowser(t)
	url := newDesk(t, &push.Server{LiteralHosts: true})
	p := open(t, browser, "compare", url+"/console/compare")
	p.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("rate").value = "5", document.getElementById("go").click()`))
	// Eight messages and more by each way.
	figure := func(row, way int) string {
		return p.eval(fmt.Sprintf(`document.querySelectorAll("#rows tr")[%d].querySelectorAll("td")[%d].textContent`, row, way))
	}
	p.until(`[...document.querySelectorAll("#rows tr:first-child td")].every(cell => Number(cell.textContent) >= 8)`)
	p.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("go").click()`))
	p.until(`document.getElementById("go").textContent === "Start"`)
	count := func(row, way int) float64 {
		n, err := strconv.ParseFloat(figure(row, way), 64)
		if err != nil {
			t.Errorf("row %d, way %d: %v", row, way, err)
		}
		return n
	}
	const requests = 1
	if polling, long, sse, ws := count(requests, 0), count(requests, 1), count(requests, 2), count(requests, 3); sse != 1 || ws != 1 || polling < 2 || long < 8 {
		t.Errorf("requests: %v, %v, %v, %v", polling, long, sse, ws)
	}
	bytes := func(row, way int) float64 {
		number, unit, _ := strings.Cut(figure(row, way), "\u00a0")
		n, err := strconv.ParseFloat(number, 64)
		if err != nil {
			t.Errorf("row %d, way %d: %q", row, way, figure(row, way))
		}
		return n * map[string]float64{"B": 1, "KB": 1e3}[unit]
	}
	const perMessage = 4
	if long, sse, ws := bytes(perMessage, 1), bytes(perMessage, 2), bytes(perMessage, 3); !(long > sse && sse > ws*0.8 && ws > 128) {
		t.Errorf("bytes a message: long polling %v, SSE %v, WebSocket %v", long, sse, ws)
	}
	if text := p.text("#meaning dt"); strings.Count(text, "|") != 8 {
		t.Errorf("explained are %s", text)
	}
	p.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("copy").click()`))
	p.until(`["Copied", "Selected"].includes(document.getElementById("copy").textContent)`)
}

// In three tabs comparisons need more connections than a browser has for one server over
// HTTP/1.1. Whoever reads the delays is told.
func TestCompareInTabs(t *testing.T) {
	browser := theBrowser(t)
	url := newDesk(t, &push.Server{LiteralHosts: true})
	tabs := make([]*page, 3)
	for i := range tabs {
		tabs[i] = open(t, browser, fmt.Sprint("compare ", i), url+"/console/compare")
	}
	for _, p := range tabs {
		p.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("rate").value = "0.2", document.getElementById("go").click()`))
		p.until(`document.getElementById("line").dataset.state === "open"`)
	}
	for _, p := range tabs {
		p.until(`/has waited for .* six connections/.test(document.getElementById("note").textContent)`)
	}
}

// Without Watch the figures are worked out, and the page shows which are.
func TestCompareEstimate(t *testing.T) {
	browser := theBrowser(t)
	srv := &push.Server{LiteralHosts: true}
	desk := console.Attach(t.Context(), srv)
	hs := httptest.NewServer(desk.Count(srv))
	defer hs.Close()
	defer srv.Shutdown(context.Background())
	p := open(t, browser, "estimate", hs.URL+"/console/compare")
	p.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("rate").value = "20", document.getElementById("go").click()`))
	p.until(`[...document.querySelectorAll("#rows tr:first-child td")].every(cell => Number(cell.textContent) > 0)`)
	for row, want := range map[string]string{"To the server": "≈", "From the server": "≈", "Packets a message": "–"} {
		cells := p.eval(fmt.Sprintf(`[...document.querySelectorAll("#rows tr")].find(row => row.textContent.startsWith(%q)).innerText`, row))
		if strings.Count(cells, want) != len(compare.Ways) {
			t.Errorf("%q, want %s in each", cells, want)
		}
	}
	if text := p.text("#meaning dd"); !strings.Contains(text, "over HTTP/2") || !strings.Contains(text, "marked with ≈") {
		t.Errorf("explained is %s", text)
	}
	p.do(chromedp.Navigate("about:blank"))
}

// Where keys are set both pages ask for one, and take only that of an administrator.
func TestDeskKey(t *testing.T) {
	browser := theBrowser(t)
	srv := &push.Server{Authorize: onlyKey}
	url := newDesk(t, srv)
	p := open(t, browser, "key", url+"/console/look")
	p.until(`document.activeElement.id === "key"`)
	if p.eval(`String(document.getElementById("view").hidden)`) != "true" {
		t.Error("the page shows something without a key")
	}
	p.keys("key", "wrong\r")
	p.until(`document.getElementById("key-error").textContent.includes("does not take")`)
	p.keys("key", "user\r")
	p.until(`document.getElementById("key-error").textContent.includes("not that of an administrator")`)
	p.keys("key", "admin\r")
	p.until(`!document.getElementById("view").hidden && document.getElementById("key-form").hidden`)
	p.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('a[href="compare"]').click()`)) // the tab keeps the key
	p.until(`location.pathname === "/console/compare" && document.querySelectorAll("#rows tr").length`)
	p.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("rate").value = "20", document.getElementById("go").click()`))
	p.until(`[...document.querySelectorAll("#rows tr:first-child td")].every(cell => Number(cell.textContent) > 0)`)
	if address := p.eval(`location.href`); strings.Contains(address, "admin") {
		t.Errorf("the key is in the address %s", address)
	}
}

// What the server does shows on the page: lines, messages, refusals, and a channel with
// its messages and who is present, as text and never as markup.
func TestLookPage(t *testing.T) {
	browser := theBrowser(t)
	srv := &push.Server{LiteralHosts: true, MaxMessage: 100}
	url := newDesk(t, srv)
	subscribe(t, url, "ann", "news")
	resp, err := http.Post(url+"/channels/news", "", strings.NewReader(strings.Repeat("x", 101)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	publish(t, srv, "news", `"<b>bold</b>"`)
	publish(t, srv, "other", `1`)
	p := open(t, browser, "look", url+"/console/look")
	p.until(`document.querySelector(".tile.lines strong")?.textContent === "1"`)
	p.until(`document.querySelector(".tile.refused strong").textContent === "1" && document.getElementById("refusal-rows").innerText.includes("105")`)
	p.until(`document.querySelector("#list .name").textContent === "other"`)
	p.until(`[...document.querySelectorAll("#list .last")].some(e => e.textContent === "<b>bold</b>")`)
	p.do(chromedp.Evaluate[chromedp.Void](`[...document.querySelectorAll("#list summary")].at(-1).click()`))
	p.until(`document.querySelector(".row[open] .inside")?.innerText.includes("Present: ann")`)
	publish(t, srv, "news", `{"a":"<img src=x>"}`)
	p.until(`[...document.querySelectorAll(".inside pre")].some(e => e.textContent === '{"a":"<img src=x>"}')`)
	p.until(`document.querySelector(".tile.published strong").textContent !== "–"`)
	p.keys("filter", "oth")
	p.until(`document.querySelectorAll("#list .row").length === 1 && document.querySelector("#list .name").textContent === "other"`)
	if p.text(".tile.published strong") == "–" { // each letter asks the server again
		t.Error("who filters no longer sees how much is published")
	}
	if n := p.eval(`String(document.querySelectorAll("#list b b, #list img").length)`); n != "0" {
		t.Errorf("%s messages have become elements", n)
	}
}

// subscribe opens a line of a user.
func subscribe(t *testing.T, url, user string, channels ...string) {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), strings.Replace(url, "http", "ws", 1)+"/connect", &websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	text := fmt.Sprintf(`{"id":1,"command":"auth","user":%q}`, user)
	for _, channel := range channels {
		text += fmt.Sprintf(`{"id":2,"command":"subscribe","channel":%q}`, channel)
	}
	if err := c.Write(t.Context(), websocket.Text, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			if _, _, err := c.Read(context.Background()); err != nil {
				return
			}
		}
	}()
}

func publish(t *testing.T, srv *push.Server, channel, data string) {
	t.Helper()
	if _, err := srv.Publish(context.Background(), channel, json.RawMessage(data)); err != nil {
		t.Fatal(err)
	}
}
