package packaging

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// asLoad is the variable that makes the test's program a load. Its value is the file
// that has who has signed the server's certificate.
const asLoad = "DUPLEX_TEST_AS_LOAD"

// A loadReport is what became of a load.
type loadReport struct {
	Published   int      // messages: the numbers from 1 on
	Connections int      // that were answered
	Draining    int      // answers of a server that is about to end
	Failures    []string // of connections that were refused or broken
}

// load publishes numbers to a channel, one after the other, and asks the server whether
// it is well, from several sides: with a connection of its own each time. It prints its
// report when its input ends.
func load(trust string) {
	roots := x509.NewCertPool()
	if pem, err := os.ReadFile(trust); err == nil {
		roots.AppendCertsFromPEM(pem)
	}
	l := &loadRun{client: &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:443") // this system does not know the host
		},
	}}}
	done := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { l.publish(done) })
	for range 4 {
		all.Go(func() { l.connect(done) })
	}
	io.Copy(io.Discard, os.Stdin)
	close(done)
	all.Wait()
	json.NewEncoder(os.Stdout).Encode(l.report)
}

type loadRun struct {
	client *http.Client

	mu     sync.Mutex
	report loadReport
}

// each calls f often, until done is closed.
func each(done <-chan struct{}, f func()) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			f()
		}
	}
}

func (l *loadRun) publish(done <-chan struct{}) {
	n := 1
	each(done, func() {
		if l.ask("POST", "/channels/load", strconv.Itoa(n)) == http.StatusOK {
			l.mu.Lock()
			l.report.Published = n
			l.mu.Unlock()
			n++
		}
	})
}

func (l *loadRun) connect(done <-chan struct{}) {
	each(done, func() { l.ask("GET", "/healthz", "") })
}

// ask sends a request, counts what becomes of it, and returns the status.
func (l *loadRun) ask(method, path, body string) int {
	req, err := http.NewRequest(method, "https://"+host+path, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+os.Getenv("DUPLEX_TOKEN"))
	resp, err := l.client.Do(req)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		l.report.Failures = append(l.report.Failures, err.Error())
		return 0
	case resp.StatusCode == http.StatusServiceUnavailable:
		l.report.Draining++
	case resp.StatusCode != http.StatusOK:
		l.report.Failures = append(l.report.Failures, method+" "+path+": "+resp.Status)
	}
	l.report.Connections++
	return resp.StatusCode
}

// underLoad types a block while clients listen, messages are published, and others
// connect. None of these may be refused, no client may miss a message without being told,
// and all have to come back.
func (o *operator) underLoad(b block) {
	o.t.Helper()
	key, failed := o.typeIn(`printf '%s' "$DUPLEX_TOKEN"`)
	if failed != nil {
		o.t.Fatal(failed)
	}
	end := o.startLoad(key)
	var readers []*reader
	for range 10 {
		readers = append(readers, &reader{newTerminal(o.machine, "exec env DUPLEX_TOKEN="+key+" duplex sub https://"+host+" load --history 1")})
	}
	o.reach(readers, 1)
	o.do(b)
	before, _, err := readers[0].read()
	if err != nil {
		o.t.Fatal(err)
	}
	o.reach(readers, before+20)
	report := end()
	o.reach(readers, report.Published)
	for i, r := range readers {
		last, resets, err := r.read()
		if err != nil || last != report.Published || resets == 0 { // a new process has none of the old messages
			o.t.Errorf("client %d has messages up to %d of %d, %d resets, %v; it shows at last\n%s", i, last, report.Published, resets, err, r.tail())
		}
	}
	o.t.Logf("%d messages, %d connections, %d of them answered by a server about to end", report.Published, report.Connections, report.Draining)
	if len(report.Failures) > 0 {
		o.t.Errorf("%d connections or requests fail, the first with %s", len(report.Failures), report.Failures[0])
	}
}

// startLoad starts a load in the network of the machine. end returns its report.
func (o *operator) startLoad(key string) (end func() loadReport) {
	o.t.Helper()
	self, err := os.Executable()
	if err != nil {
		o.t.Fatal(err)
	}
	cmd := o.enter(o.t.Context(), "--net", self)
	cmd.Env = []string{asLoad + "=" + o.file(trusted), "DUPLEX_TOKEN=" + key}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		o.t.Fatal(err)
	}
	var said output
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	return func() (report loadReport) {
		o.t.Helper()
		stdin.Close()
		err := cmd.Wait()
		if err == nil {
			err = json.Unmarshal([]byte(said.String()), &report)
		}
		if err != nil {
			o.t.Fatalf("the load: %v, %s", err, &said)
		}
		return report
	}
}

// A reader is a client that shows the numbers it gets.
type reader struct{ *terminal }

// reach waits until all readers have got a number.
func (o *operator) reach(readers []*reader, n int) {
	o.t.Helper()
	o.eventually(fmt.Sprintf("all clients have message %d", n), func() error {
		for i, r := range readers {
			if last, _, err := r.read(); err != nil || last < n {
				return fmt.Errorf("client %d is at %d, %v; it shows at last\n%s", i, last, err, r.tail())
			}
		}
		return nil
	})
}

// tail returns the last of what the client shows.
func (r *reader) tail() string {
	said := r.said.String()
	return said[max(0, len(said)-2000):]
}

// read returns the last number that the client has shown, and how often it was told that
// some may be missing. Where some are, and it was not told, there is an error.
func (r *reader) read() (last, resets int, err error) {
	told := false
	for line := range strings.Lines(r.said.String()) {
		if strings.HasPrefix(line, "reset: ") {
			resets, told = resets+1, true
			continue
		}
		var message struct{ Data int }
		if !strings.HasSuffix(line, "\n") || json.Unmarshal([]byte(line), &message) != nil {
			continue
		}
		switch {
		case last != 0 && message.Data <= last, last != 0 && message.Data != last+1 && !told:
			return last, resets, fmt.Errorf("%d comes after %d", message.Data, last)
		}
		last, told = message.Data, false
	}
	return last, resets, nil
}
