package console_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/duplexgo/duplex/push"
)

var pictures = flag.String("pictures", "", "write pictures of the pages into this folder")

// screens are those of phones, a tablet and desks.
var screens = [][2]int64{{320, 568}, {390, 844}, {768, 1024}, {1280, 800}, {1920, 1080}}

// documents are the scenes that the documents show, as in the window of a desk, and the
// names that they have there.
var documents = map[string]string{"news": "console", "server": "console-server", "compare-running": "console-compare"}

// Every page in every state that people meet it in, in light and dark, on a phone and on a
// desk, and with its text at twice its size; with -pictures there is a picture of each.
func TestPictures(t *testing.T) {
	browser := theBrowser(t)
	t.Run("channels", func(t *testing.T) { channelScenes(t, browser) })
	t.Run("server", func(t *testing.T) { serverScenes(t, browser) })
	t.Run("compare", func(t *testing.T) { compareScenes(t, browser) })
}

func channelScenes(t *testing.T, browser context.Context) {
	addr := "127.0.0.1:0"
	if *pictures != "" {
		addr = "127.0.0.1:8080" // the usual one: the pages show it
	}
	host := newHost(t, addr)
	url := "http://" + host.addr + "/console?user=grace"
	p := open(t, browser, "channels", url)
	p.untilState("open")
	p.scene("first", `!document.getElementById("welcome").hidden`)

	p.keys("join-name", strings.Repeat("a name too long for a channel ", 10)+"\r")
	p.until(`document.getElementById("join-error").innerText`)
	p.scene("wrong-name", `true`)

	visit := func(channels string) {
		p.do(chromedp.Navigate("about:blank"), chromedp.Navigate(url+"#"+channels))
		p.untilState("open")
	}
	visit("quiet")
	p.scene("quiet", `document.querySelector(".notice")`)

	host.publish("news", "", "The morning edition is out.")
	p.pause(2300 * time.Millisecond)
	host.publish("news", "application/json", `{"temperature":21.5,"station":"harbour"}`)
	p.pause(1100 * time.Millisecond)
	host.publish("news", "application/json", `{"event":"deploy","service":"checkout","version":"2.14.0","took_ms":4180,"by":["ada","grace"]}`)
	p.pause(3400 * time.Millisecond)
	host.publish("news", "", "A longer message, as people write them: it runs over the end of its line, and then over another, so that one sees how the page breaks it.\nIt has a second paragraph, too.")
	visit("news,builds,chat%2Flobby")
	subscribe(t, "http://"+host.addr, "ada", "news")
	p.until(`document.querySelectorAll("#scroll .data").length >= 4 && document.getElementById("who").innerText.includes("ada")`)
	host.publish("builds", "", "green")
	p.until(`document.querySelector(".unread:not(:empty)")`)
	p.keys("text", "Good morning, everybody")
	p.scene("news", `true`)

	p.click("label", "JSON")
	p.enter("")
	p.until(`document.getElementById("write-error").innerText`)
	p.scene("not-json", `true`)

	long := strings.Repeat("department/", 20) + "alerts"
	names := long
	for i := range 40 {
		names += fmt.Sprintf(",orders%%2F%d", 1000+i)
	}
	host.publish(strings.ReplaceAll(long, "/", "%2F"), "application/json", fmt.Sprintf(`{"path":%q,"list":[1,2,3],"nested":{"deeper":{"deepest":[true,false,null,12345678901234567890]}}}`, strings.Repeat("wide", 100)))
	host.publish(strings.ReplaceAll(long, "/", "%2F"), "", strings.Repeat("wide", 200))
	visit(names)
	p.until(`document.querySelectorAll("#scroll .data").length >= 2 && document.querySelectorAll(".channel").length === 41`)
	for i := range 12 {
		host.publish(fmt.Sprintf("orders%%2F%d", 1000+i*3), "", "new")
	}
	p.until(`document.querySelectorAll(".unread:not(:empty)").length >= 12`)
	p.scene("many", `true`)

	visit("news,builds,chat%2Flobby")
	p.until(`document.querySelectorAll("#scroll .data").length >= 4`)
	p.do(chromedp.Evaluate[chromedp.Void](`Math.random = () => 40`)) // which the client makes 20 s of: long enough for all pictures
	host.cut(true)
	p.scene("away", `document.getElementById("line-more").innerText.includes("back in")`)
	host.cut(false)
	host.stop()
	host.start()
	p.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("line-now").click()`))
	p.until(`document.querySelector("#scroll .warn")`)
	for i := range 30 {
		host.publish("news", "", fmt.Sprint("more ", i))
	}
	p.until(`document.body.innerText.includes("more 29")`)
	p.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("scroll").scrollTop = 0`))
	p.painted() // and so the page knows that somebody has scrolled
	host.publish("news", "", "and more")
	p.until(`!document.getElementById("newer").hidden`)
	p.scene("back", `true`)

	keys := open(t, browser, "keys", newDesk(t, &push.Server{Authorize: onlyKey})+"/console#news")
	keys.untilState("closed")
	keys.until(`document.activeElement.id === "token"`)
	keys.scene("token", `true`)
}

func serverScenes(t *testing.T, browser context.Context) {
	p := open(t, browser, "server", newDesk(t, new(push.Server))+"/console/look")
	p.until(`!document.getElementById("view").hidden`)
	p.scene("server-new", `true`)

	h := newHour(t)
	web := h.serve(t)
	p = open(t, browser, "hour", web.URL+"/console/look")
	p.until(`document.querySelectorAll("#list .row").length === 5 && document.querySelector(".tile.published strong").innerText !== "–"`)
	p.do(chromedp.Evaluate[chromedp.Void](`[...document.querySelectorAll("#list summary")].at(-1).click()`))
	p.until(`document.querySelectorAll(".inside pre").length === 5`)
	p.scene("server", `document.querySelectorAll(".spark .edge").length > 6`)

	p.keys("filter", "nothing")
	p.until(`document.querySelectorAll("#list .row").length === 0 && !document.getElementById("no-channels").hidden`)
	p.scene("server-filter", `true`)
	web.Close()
	p.until(`document.getElementById("line").dataset.state === "waiting"`)
	p.scene("server-away", `true`)

	srv := new(push.Server)
	url := newDesk(t, srv)
	publish(t, srv, strings.Repeat("long", 60), fmt.Sprintf("%q", strings.Repeat("wide", 200)))
	publish(t, srv, "data", fmt.Sprintf(`{"path":%q,"list":[1,2,3],"nested":{"deeper":{"deepest":[true,false,null]}}}`, strings.Repeat("wide", 100)))
	for i := range 40 {
		subscribe(t, url, fmt.Sprintf("somebody-with-a-name-%d@example.org", i), "data")
	}
	p = open(t, browser, "long", url+"/console/look")
	p.until(`document.querySelectorAll("#list .row").length === 2`)
	p.do(chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("#list summary").forEach((e) => e.click())`))
	p.until(`document.querySelectorAll(".inside pre").length === 2`)
	p.scene("server-long", `true`)

	p = open(t, browser, "locked", newDesk(t, &push.Server{Authorize: onlyKey})+"/console/look")
	p.until(`document.activeElement.id === "key"`)
	p.scene("server-locked", `true`)
	p.keys("key", "wrong\r")
	p.until(`document.getElementById("key-error").innerText`)
	p.scene("server-wrong-key", `true`)
}

func compareScenes(t *testing.T, browser context.Context) {
	p := open(t, browser, "compare", newDesk(t, new(push.Server))+"/console/compare")
	p.until(`document.querySelectorAll("#rows tr").length`)
	p.scene("compare", `true`)
	p.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("rate").value = "5", document.getElementById("go").click()`))
	messages := 5
	if *pictures != "" {
		messages = 80
	}
	p.until(fmt.Sprintf(`Number(document.querySelector("#rows td").textContent) >= %d`, messages))
	p.scene("compare-running", `document.getElementById("go").textContent === "Stop"`)
	p.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("go").click()`))
	p.scene("compare-finished", `document.getElementById("go").textContent === "Start"`)

	p = open(t, browser, "no-comparison", newHour(t).serve(t).URL+"/console/compare")
	p.until(`document.querySelectorAll("#rows tr").length`)
	p.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("go").click()`))
	p.until(`document.getElementById("note").innerText`)
	p.scene("compare-not-there", `true`)

	p = open(t, browser, "compare-locked", newDesk(t, &push.Server{Authorize: onlyKey})+"/console/compare")
	p.until(`document.querySelectorAll("#rows tr").length`)
	p.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("go").click()`))
	p.until(`document.activeElement.id === "key"`)
	p.scene("compare-locked", `true`)
}

// pause lets time go by where a picture shows times.
func (p *page) pause(d time.Duration) {
	if *pictures != "" {
		time.Sleep(d)
	}
}

// scene checks the page as it is, and takes its pictures. Before each the condition is
// waited for, as of something that does not last.
func (p *page) scene(name, condition string) {
	p.t.Helper()
	check := func(scheme string, size [2]int64, zoom int) {
		p.t.Helper()
		p.do(chromedp.EmulateViewport(size[0], size[1]), preferScheme(scheme))
		p.until(condition)
		for _, fault := range p.list(fmt.Sprintf(faults, zoom)) {
			p.t.Errorf("%s, %s, %d wide, text at %d %%: %s", name, scheme, size[0], zoom, fault)
		}
	}
	if *pictures == "" {
		check("light", screens[0], 100)
		check("dark", screens[3], 200)
		return
	}
	for _, scheme := range []string{"light", "dark"} {
		for _, size := range screens {
			check(scheme, size, 100)
			p.shoot(fmt.Sprintf("%s-%s-%d", name, scheme, size[0]), chromedp.FullScreenshot(100))
			if in := documents[name]; in != "" && size[0] == 1280 {
				p.shoot(fmt.Sprintf("docs/%s-%s", in, scheme), chromedp.CaptureScreenshot())
			}
		}
	}
}

// list returns the value of an expression in the page that is a list of texts.
func (p *page) list(expression string) []string {
	p.t.Helper()
	list, err := chromedp.Run(p.ctx, chromedp.Evaluate[[]string](expression))
	if err != nil {
		p.t.Fatalf("tab %s: %v", p.name, err)
	}
	return list
}

// painted waits until the page has been drawn anew.
func (p *page) painted() {
	p.t.Helper()
	p.do(chromedp.Evaluate[chromedp.Void](`new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))`, chromedp.EvalAwaitPromise))
}

func (p *page) shoot(name string, screenshot chromedp.Action[[]byte]) {
	p.t.Helper()
	path := filepath.Join(*pictures, name+".png")
	png, err := chromedp.Run(p.ctx, screenshot)
	if err == nil {
		err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, png, 0o644))
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// preferScheme makes the tab that of somebody who prefers light or dark.
func preferScheme(scheme string) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (v chromedp.Void, err error) {
		_, err = cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return v, err
	}
}

// faults lists what is wrong with the page as it is drawn, with its text at so many per
// cent: what is wider than the screen, text whose contrast with what is behind it is below
// 4.5 and rims of fields, dots and lines of a picture below 3 (WCAG 2.2, 1.4.3, 1.4.11),
// and on a phone what is too small for a thumb (2.5.5).
const faults = `(() => {
	const zoom = %d, found = [];
	const named = (e) => e.tagName + (e.id ? "#" + e.id : e.className ? "." + e.className : "") + " " + (e.innerText ?? "").slice(0, 40);
	document.documentElement.style.fontSize = zoom === 100 ? "" : 16 * zoom / 100 + "px";
	const seen = [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility());

	if (document.documentElement.scrollWidth > innerWidth) {
		const out = seen.filter((e) => e.getBoundingClientRect().right > innerWidth && ![...e.children].some((c) => c.getBoundingClientRect().right > innerWidth));
		found.push("wider than the screen: " + out.map(named).join(", "));
	}

	const parts = (colour) => colour.startsWith("#") ? colour.match(/\w\w/g).map((c) => parseInt(c, 16)) : colour.match(/[\d.]+/g).map(Number);
	const light = (colour) => {
		const [r, g, b] = parts(colour).slice(0, 3).map((v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
		return .2126 * r + .7152 * g + .0722 * b;
	};
	const contrast = (...colours) => {
		const [a, b] = colours.map(light).sort((x, y) => y - x);
		return (a + .05) / (b + .05);
	};
	const behind = (element) => {
		for (let e = element; e; e = e.parentElement) {
			const colour = getComputedStyle(e).backgroundColor;
			if ((parts(colour)[3] ?? 1) === 1) return colour;
		}
		return "rgb(255, 255, 255)";
	};
	for (const e of seen) {
		const style = getComputedStyle(e), hasText = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
		if (hasText && !e.disabled && contrast(style.color, behind(e)) < 4.5) found.push("faint: " + named(e));
		if (e.placeholder && contrast(getComputedStyle(e, "::placeholder").color, behind(e)) < 4.5) found.push("faint within: " + named(e));
		if (e.matches("input:not([type=radio]), textarea, select, fieldset") && !e.matches(":focus") && contrast(style.borderTopColor, behind(e.parentElement)) < 3) found.push("faint rim: " + named(e));
		if (e.matches(".dot, .swatch") && contrast(style.backgroundColor, behind(e.parentElement)) < 3) found.push("faint dot: " + named(e));
	}
	const root = getComputedStyle(document.documentElement);
	for (const name of ["--c0", "--c1", "--c2", "--c3"]) {
		const colour = root.getPropertyValue(name).trim();
		if (colour && contrast(colour, root.getPropertyValue("--card").trim()) < 3) found.push("faint in pictures: " + name);
	}

	if (innerWidth < 760) for (const e of seen) {
		if (!e.matches("button, select, textarea, summary, nav a, input:not([type=radio]), input[type=radio] + span")) continue;
		const {width, height} = e.getBoundingClientRect();
		if (width < 44 || height < 44) found.push("too small for a thumb: " + named(e) + Math.round(width) + " x " + Math.round(height));
	}
	document.documentElement.style.fontSize = "";
	return found;
})()`
