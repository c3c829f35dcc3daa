package console_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/duplexgo/duplex/push"
)

// faint lists the texts whose contrast with what is behind them is below 4.5 (WCAG
// 2.1, 1.4.3).
const faint = `(() => {
	const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
	const light = (colour) => {
		const [r, g, b] = channels(colour).slice(0, 3).map((v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
		return .2126 * r + .7152 * g + .0722 * b;
	};
	const behind = (element) => {
		for (let e = element; e; e = e.parentElement) {
			const colour = getComputedStyle(e).backgroundColor;
			if ((channels(colour)[3] ?? 1) === 1) return colour;
		}
		return "rgb(255, 255, 255)";
	};
	return [...document.querySelectorAll("body *")].filter((element) => {
		if (!element.checkVisibility() || element.disabled || ![...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) return false;
		const [a, b] = [light(getComputedStyle(element).color), light(behind(element))].sort((x, y) => y - x);
		return (a + .05) / (b + .05) < 4.5;
	}).map((element) => element.innerText).join("|");
})()`

// On a phone nothing is wider than the page, and in light and dark all text can be read.
func TestDeskFits(t *testing.T) {
	browser := newBrowser(t)
	srv := &push.Server{LiteralHosts: true, MaxMessage: 1000}
	url := newDesk(t, srv)
	publish(t, srv, strings.Repeat("long", 60), fmt.Sprintf("%q", strings.Repeat("wide", 200)))
	publish(t, srv, "short", `1`)
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{1280, 390, 320} {
			p := open(t, browser, fmt.Sprintf("%s-%d", scheme, width), "about:blank")
			p.do(chromedp.EmulateViewport(width, 800), preferScheme(scheme), chromedp.Navigate(url+"/console/look"))
			p.until(`document.querySelectorAll("#list .row").length === 2`)
			p.do(chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("#list summary").forEach((e) => e.click())`))
			p.until(`document.querySelectorAll(".inside pre").length === 2`)
			check := func(page string) {
				t.Helper()
				if wide := p.eval(fmt.Sprintf(`document.documentElement.scrollWidth > %d ? String(document.documentElement.scrollWidth) : ""`, width)); wide != "" {
					t.Errorf("%s, %s: %s wide", page, p.name, wide)
				}
				if texts := p.eval(faint); texts != "" {
					t.Errorf("%s, %s: faint are %s", page, p.name, texts)
				}
			}
			check("look")
			p.do(chromedp.Navigate(url + "/console/compare"))
			p.until(`document.querySelectorAll("#rows tr").length > 0`)
			check("compare")
			p.do(chromedp.Navigate("about:blank"))
		}
	}
}
