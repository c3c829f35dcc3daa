package console_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// listen has a page listen to the channel n with the client of package js, and write
// down what it gets.
const listen = `void import("/console/duplex.js").then(({connect}) => {
	window.got = []; window.resets = []; window.used = []; window.tries = 0;
	window.line = connect("/", {upgrade: 300});
	line.addEventListener("state", ({detail}) => { if (detail.name === "open") used.push(detail.transport); tries += detail.name === "connecting"; });
	line.addEventListener("reset", ({detail}) => resets.push(detail.reason));
	line.subscribe("n", (data) => got.push(data));
	line.subscribe("other", () => {});
})`

// numbers publishes 1, 2, 3 and so on until it is stopped, and returns the last.
func (h *host) numbers() (stop func() int) {
	ctx, cancel := context.WithCancel(h.t.Context())
	var last int
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			last++
			for channel, data := range map[string]int{"n": last, "other": 0} {
				if _, err := h.push.Publish(context.Background(), channel, fmt.Append(nil, data)); err != nil {
					h.t.Errorf("publishing %d: %v", last, err)
				}
			}
		}
	})
	return func() int {
		cancel()
		done.Wait()
		return last
	}
}

// offline takes the network from a tab, or gives it back.
func offline(off bool) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (v chromedp.Void, err error) {
		rules := []*network.Conditions{}
		if off {
			rules = append(rules, &network.Conditions{Offline: true, DownloadThroughput: -1, UploadThroughput: -1})
		}
		if _, err = cdp.Call(ctx, t, network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{MatchedNetworkConditions: rules}); err != nil {
			return v, err
		}
		_, err = cdp.Call(ctx, t, network.OverrideNetworkState, network.OverrideNetworkStateParams{Offline: off, DownloadThroughput: -1, UploadThroughput: -1})
		return v, err
	}
}

// The client in a browser, while messages come all the time: its line is cut, its
// network goes, its transports are blocked and let through again, and the server
// is started anew.
func TestClient(t *testing.T) {
	browser := theBrowser(t)
	host := newHost(t, "127.0.0.1:0")
	p := open(t, browser, "client", "http://"+host.addr+"/console")
	p.do(chromedp.Evaluate[chromedp.Void](listen))
	using := func(transport string) {
		t.Helper()
		// Its waits grow with each failure; the test does not wait for them.
		p.until(fmt.Sprintf(`line.state.name === "waiting" && line.connect(), line.state.name === "open" && line.state.transport === %q`, transport))
		before := p.eval(`String(got.length)`)
		p.until(fmt.Sprintf(`got.length > %s + 10`, before))
	}
	p.until(`window.line?.state.name === "open"`)
	p.until(`(line.publish("begin", 0).then(() => window.begun = true), window.begun)`)
	stop := host.numbers()
	using("websocket")

	t.Log("the line is cut and nobody reaches the server for a while")
	host.cut(true)
	p.until(`line.state.name === "waiting"`)
	tries := p.eval(`String(tries)`)
	p.until(`tries > ` + tries) // which it is for a moment only, each time
	host.cut(false)
	using("websocket")

	t.Log("the network goes and comes back")
	p.do(offline(true))
	p.until(`line.state.name === "waiting"`)
	p.do(offline(false))
	using("websocket")

	t.Log("WebSocket is blocked")
	host.block("/connect")
	host.cut(false)
	using("sse")

	t.Log("the network goes once more")
	p.do(offline(true))
	p.until(`line.state.name === "waiting"`)
	p.do(offline(false))
	using("sse")

	t.Log("streams are blocked, too")
	host.block("/connect", "/events")
	host.cut(false)
	p.until(`line.state.transport !== "sse"`)
	using("poll")

	t.Log("and up again")
	host.block("/connect")
	using("sse")
	host.block()
	using("websocket")

	last := stop()
	p.until(fmt.Sprintf(`got.at(-1) === %d`, last))
	var got []int
	if err := json.Unmarshal([]byte(p.eval(`JSON.stringify(got)`)), &got); err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if got[i] != got[0]+i {
			t.Fatalf("after %d came %d", got[max(i, 1)-1], got[i])
		}
	}
	if len(got) == 0 || got[0] != 1 {
		t.Errorf("%d messages have come, the first is not 1", len(got))
	}
	if resets := p.eval(`resets.join()`); resets != "" {
		t.Errorf("resets: %s", resets)
	}
	t.Logf("%d messages over %s", len(got), p.eval(`used.join(", ")`))

	t.Log("the server is started anew, and has forgotten")
	host.stop()
	p.until(`line.state.name === "waiting"`)
	host.start()
	p.until(`line.state.name === "waiting" && line.connect(), line.state.name === "open"`)
	p.until(`resets.length === 2`) // of each channel
	host.publish("n", "application/json", "-1")
	p.until(`got.at(-1) === -1`)
}
