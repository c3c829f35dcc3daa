package console_test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/duplexgo/duplex/push"
)

// press presses keys, whatever has the focus.
func (p *page) press(keys string) {
	p.t.Helper()
	p.do(chromedp.KeyEvent(keys))
}

// walk goes through the page with the Tab key, on a desk's screen at 200 %, until it comes
// round. Every control is met, and seen: it has a ring, is on the screen and under nothing.
func (p *page) walk(name string) {
	p.t.Helper()
	p.do(chromedp.EmulateViewport(640, 400), chromedp.Evaluate[chromedp.Void](`void (document.activeElement.blur(), window.met = new Set())`))
	const arrived = `(() => {
		const e = document.activeElement;
		if (e === document.body) return []; // between the last and the first
		if (met.has(e)) return ["round"];
		met.add(e);
		const named = e.tagName + "#" + e.id, shown = e.matches("input[type=radio]") ? e.nextElementSibling : e, found = [];
		const {outlineStyle, outlineWidth} = getComputedStyle(shown);
		if (outlineStyle === "none" || parseFloat(outlineWidth) < 2) found.push(named + " has no ring");
		const {left, top, right, bottom} = shown.getBoundingClientRect();
		const x = (Math.max(left, 0) + Math.min(right, innerWidth)) / 2, y = (Math.max(top, 0) + Math.min(bottom, innerHeight)) / 2;
		const there = document.elementFromPoint(x, y);
		if (!shown.contains(there) && !there?.contains(shown)) found.push(named + " is out of sight");
		return found;
	})()`
	for range 100 {
		p.press(kb.Tab)
		faults := p.list(arrived)
		if slices.Contains(faults, "round") {
			break
		}
		for _, fault := range faults {
			p.t.Errorf("%s: with the focus, %s", name, fault)
		}
	}
	// The chosen radio button and the chosen channel are met: from there the arrows lead on.
	for _, left := range p.list(`[...document.querySelectorAll("a, button, input, select, textarea, summary")]
		.filter((e) => e.checkVisibility() && !e.disabled && !met.has(e) && !(e.type === "radio" && !e.checked) && e.ariaSelected !== "false")
		.map((e) => e.tagName + "#" + e.id + " " + e.innerText)`) {
		p.t.Errorf("%s: the Tab key does not lead to %s", name, left)
	}
}

// With the keyboard alone people can do all that there is to do.
func TestKeyboard(t *testing.T) {
	browser := theBrowser(t)
	host := newHost(t, "127.0.0.1:0")
	p := open(t, browser, "channels", "http://"+host.addr+"/console")
	p.untilState("open")
	p.until(`document.activeElement.id === "join-name"`)
	p.walk("first visit")
	p.do(chromedp.EmulateViewport(1280, 800), chromedp.Focus(chromedp.ID("join-name")))
	for _, channel := range []string{"one", "two", "three"} {
		p.press(channel + kb.Enter)
		p.until(`document.activeElement.id === "text" && document.activeElement.offsetHeight > 30`)
		p.enter("in " + channel)
		p.untilShown("in " + channel)
		p.do(chromedp.Focus(chromedp.ID("join-name")))
	}
	p.walk("three channels")

	chosen := `document.querySelector(".channel[aria-selected=true]")`
	p.do(chromedp.Evaluate[chromedp.Void](`void ` + chosen + `.focus()`))
	p.press(kb.ArrowDown + kb.ArrowDown + kb.ArrowUp + kb.Enter) // from the last round to the first
	p.until(`document.getElementById("title").innerText === "one"`)
	p.press(kb.End + " ")
	p.until(`document.getElementById("title").innerText === "three"`)
	p.do(chromedp.Focus(chromedp.ID("leave")))
	p.press(kb.Enter)
	p.until(`document.getElementById("title").innerText === "one" && document.activeElement === ` + chosen)

	p.do(chromedp.Evaluate[chromedp.Void](`void document.querySelector("input[value=text]").focus()`))
	p.press(kb.ArrowRight)
	p.until(`document.querySelector("input[value=json]").checked`)
	p.enter(`{"a":`)
	p.until(`document.getElementById("write-error").innerText && document.activeElement.id === "text"`)
	p.enter(`1}`)
	p.untilShown("in one", `{"a":1}`)

	p = open(t, browser, "server", newHour(t).serve(t).URL+"/console/look")
	p.until(`document.querySelectorAll("#list .row").length === 5`)
	p.do(chromedp.Evaluate[chromedp.Void](`void document.querySelector("#list summary").focus()`))
	p.press(kb.Enter)
	p.until(`document.querySelectorAll(".inside pre").length === 5 && document.activeElement.matches(".row[open] summary")`)
	p.walk("server")

	p = open(t, browser, "compare", newDesk(t, new(push.Server))+"/console/compare")
	p.until(`document.querySelectorAll("#rows tr").length`)
	p.do(chromedp.Focus(chromedp.ID("rate")))
	p.press("2") // the option that begins so: 2 a second
	p.until(`document.getElementById("rate").value === "2"`)
	p.do(chromedp.Focus(chromedp.ID("go")))
	p.press(kb.Enter)
	p.until(`document.getElementById("go").textContent === "Stop" && document.activeElement.id === "go" && !document.getElementById("charts").hidden`)
	p.press(kb.Enter)
	p.until(`document.getElementById("go").textContent === "Start" && document.activeElement.id === "go"`)
	p.walk("compare")
}

// spoken is what an assistive technology finds on a page: its controls, and what else one
// goes by, each as role and name.
func (p *page) spoken() (list []string) {
	p.t.Helper()
	got, err := chromedp.Run(p.ctx, func(ctx context.Context, t *chromedp.Target) (accessibility.GetFullAXTreeResult, error) {
		return cdp.Call(ctx, t, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	})
	if err != nil {
		p.t.Fatal(err)
	}
	text := func(v *accessibility.Value) (s string) {
		if v != nil {
			json.Unmarshal(v.Value, &s)
		}
		return s
	}
	without := []string{ // texts, and boxes without a meaning
		"", "none", "generic", "StaticText", "InlineTextBox", "paragraph", "listitem", "list", "listMarker", "LabelText", "Legend", "strong", "emphasis",
		"image", "time", "code", "pre", "mark", "row", "rowgroup", "cell", "rowheader", "columnheader", "gridcell", "LineBreak", "MenuListPopup", "option", "RootWebArea",
		"article", "figure", "term", "definition", "DescriptionList", "group", "Details", "form",
	}
	for _, node := range got.Nodes {
		role := text(node.Role)
		if node.Ignored || slices.Contains(without, role) && !(role == "image" && text(node.Name) != "") {
			continue
		}
		list = append(list, strings.Join(strings.Fields(role+" "+text(node.Name)+" "+text(node.Description)), " "))
	}
	return list
}

// What those hear who do not see the pages.
func TestSpoken(t *testing.T) {
	browser := theBrowser(t)
	host := newHost(t, "127.0.0.1:0")
	host.publish("news", "", "The morning edition is out.")
	p := open(t, browser, "channels", "http://"+host.addr+"/console#news,builds")
	p.untilState("open")
	p.untilShown("The morning edition is out.")
	host.publish("builds", "", "green")
	p.until(`document.querySelector(".unread:not(:empty)")`)
	p.speaks(
		"banner", "navigation Pages", "link Channels", "link Server", "link Compare", "status", "main",
		"region Channels", "textbox Channel to join", "button Join", "tablist Joined channels", "tab news", "tab builds, 1 unread",
		"tabpanel news", "heading news", "button Leave", "button Copy", "region Messages", "log Messages of news",
		"textbox Message", "radio Text", "radio JSON", "button Send",
	)

	p = open(t, browser, "server", newHour(t).serve(t).URL+"/console/look")
	p.until(`document.querySelectorAll("#list .row").length === 5`)
	p.speaks(
		"banner", "navigation Pages", "link Channels", "link Server", "link Compare", "status", "main", "heading What the server does",
		"region Now, and in the last hour",
		"heading Lines", "image Lines in the last hour: now 22, at most 24, at least 17", "heading Published", "image Published in the last hour: *",
		"heading Delivered", "image Delivered in the last hour: *", "heading Sent", "image Sent in the last hour: *",
		"heading Lag", "image Lag in the last hour: now 0, at most *, at least 0", "heading Refused", "image Refused in the last hour: *",
		"region Channels", "heading Channels", "textbox Only channels whose names begin with",
		"DisclosureTriangle prices/eur-usd *", "DisclosureTriangle prices/usd-jpy *", "DisclosureTriangle chat/lobby *", "DisclosureTriangle builds *",
		"DisclosureTriangle news 5 readers The morning edition is out. 6 kept, * min ago",
		"region Refusals", "heading Refusals", "table Refusals", "region What the figures mean", "heading What the figures mean",
	)

	p = open(t, browser, "compare", newDesk(t, new(push.Server))+"/console/compare")
	p.until(`document.querySelectorAll("#rows tr").length`)
	p.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("go").click()`))
	p.until(`!document.getElementById("charts").hidden`)
	p.speaks(
		"banner", "navigation Pages", "link Channels", "link Server", "link Compare", "status", "status", "main", "heading One channel, received in four ways",
		"combobox Messages", "combobox Size of data", "combobox Poll every", "button Stop",
		"region The four ways", "heading Polling", "heading Long polling", "heading SSE", "heading WebSocket",
		"region The last minute", "heading Bytes on the wire, added up", "image Bytes on the wire, added up", "heading Delay of each message", "image Delay of each message",
		"region Figures", "heading Figures", "button Copy table", "status", "table Figures", "region What the figures mean", "heading What the figures mean",
	)
}

// speaks checks what is spoken of a page, in any order; * stands for what may be different.
func (p *page) speaks(want ...string) {
	p.t.Helper()
	left := p.spoken()
	for _, text := range want {
		is := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(text), `\*`, ".+") + "$")
		if at := slices.IndexFunc(left, is.MatchString); at >= 0 {
			left = slices.Delete(left, at, at+1)
		} else {
			p.t.Errorf("tab %s: there is no %s", p.name, text)
		}
	}
	for _, text := range left {
		p.t.Errorf("tab %s: there is %s", p.name, text)
	}
}

// The pages do not talk all the time: what changes with every message, every second or
// every try is not told, or told once.
func TestPagesAreQuiet(t *testing.T) {
	const listen = `window.told = [], new MutationObserver((changes) => {
		for (const {target} of changes) {
			const region = (target.closest ? target : target.parentElement).closest("[role=status], [role=alert], [aria-live], [role=log]");
			if (region && region.ariaLive !== "off" && region.textContent && told.at(-1) !== region.textContent) told.push(region.textContent);
		}
	}).observe(document.body, {subtree: true, childList: true, characterData: true}), true`
	browser := theBrowser(t)
	host := newHost(t, "127.0.0.1:0")
	p := open(t, browser, "channels", "http://"+host.addr+"/console#news")
	p.untilState("open")
	p.until(listen)
	for i := range 100 {
		host.publish("news", "", fmt.Sprint("message ", i))
	}
	p.untilShown("message 99")
	p.until(`told.some((text) => text.endsWith(" messages"))`)
	host.cut(true)
	p.do(chromedp.Evaluate[chromedp.Void](`Math.random = () => .1`)) // it tries again quickly
	p.until(`document.getElementById("line").dataset.state === "waiting"`)
	p.do(chromedp.Evaluate[chromedp.Void](`void (window.tries = new Set(), new MutationObserver(() => tries.add(performance.now()))
		.observe(document.getElementById("line"), {attributes: true}))`))
	p.until(`tries.size > 6`)
	host.cut(false)
	p.untilState("open")
	p.until(`told.at(-1) === "Connected"`)
	if told := p.list(`told`); len(told) > 6 || !slices.Contains(told, "The line is broken, and comes back by itself") {
		t.Errorf("a hundred messages and a broken line were told by %q", told)
	}

	p = open(t, browser, "server", newHour(t).serve(t).URL+"/console/look")
	p.until(`document.querySelectorAll("#list .row").length === 5`)
	p.until(listen)
	for range 5 {
		before := p.eval(`document.querySelector(".tile.published .more").innerText`)
		p.until(fmt.Sprintf(`document.onvisibilitychange() || document.querySelector(".tile.published .more").innerText !== %q`, before))
	}
	if told := p.list(`told`); len(told) > 0 {
		t.Errorf("what the server does was told by %q", told)
	}
}

// Who asks for less motion gets none that says nothing, and pictures that move seldom.
func TestReducedMotion(t *testing.T) {
	browser := theBrowser(t)
	p := open(t, browser, "motion", newDesk(t, new(push.Server))+"/console/compare")
	p.until(`document.querySelectorAll("#rows tr").length`)
	p.do(chromedp.Evaluate[chromedp.Void](`void (() => {
		const clear = CanvasRenderingContext2D.prototype.clearRect;
		window.drawn = 0;
		CanvasRenderingContext2D.prototype.clearRect = function (...box) { drawn++; clear.apply(this, box); };
	})()`))
	p.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("go").click()`))
	p.until(`document.getElementById("line").dataset.state === "open"`)
	// drawn is how often the two pictures are drawn anew in 60 frames.
	drawn := func() (n int) {
		text, err := chromedp.Run(p.ctx, chromedp.Evaluate[int](`new Promise((done) => {
			let frames = 0;
			const before = drawn, next = () => { if (++frames > 60) done(drawn - before); else requestAnimationFrame(next); };
			next();
		})`, chromedp.EvalAwaitPromise))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	const animation = `(document.getElementById("line").dataset.state = "connecting", getComputedStyle(document.querySelector(".dot")).animationName)`
	if n, name := drawn(), p.eval(animation); n < 20 || name != "breathe" {
		t.Errorf("in 60 frames drawn %d times, animation %s", n, name)
	}
	p.do(chromedp.Action[chromedp.Void](func(ctx context.Context, t *chromedp.Target) (v chromedp.Void, err error) {
		_, err = cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}},
		})
		return v, err
	}))
	if n, name := drawn(), p.eval(animation); n > 8 || name != "none" {
		t.Errorf("with less motion in 60 frames drawn %d times, animation %s", n, name)
	}
}
