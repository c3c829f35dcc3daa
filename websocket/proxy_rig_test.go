package websocket_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// A middle is a proxy in memory, for CONNECT and SOCKS5, before one server.
type middle struct {
	listener   *wstest.Listener
	server     *wstest.Listener
	cert       *tls.Certificate // of an https proxy
	user, pass string           // if set, they are wanted
	refuse     string           // an answer instead of the tunnel
	line       func(net.Conn) net.Conn

	mu       sync.Mutex
	targets  []string
	requests []*http.Request
	running  sync.WaitGroup
}

// newMiddle starts a proxy; line may make its connections worse.
func newMiddle(t *testing.T, server *wstest.Listener) *middle {
	m := &middle{listener: wstest.NewListener(), server: server}
	m.running.Go(func() {
		for {
			c, err := m.listener.Accept()
			if err != nil {
				return
			}
			m.running.Go(func() { m.serve(c) })
		}
	})
	t.Cleanup(func() { m.listener.Close(); m.running.Wait() })
	return m
}

// options leads Dial through the proxy: its URL's scheme says how.
func (m *middle) options(proxy string) *websocket.DialOptions {
	u, err := url.Parse(proxy)
	if err != nil {
		panic(err)
	}
	return &websocket.DialOptions{Proxy: http.ProxyURL(u), DialContext: m.listener.DialContext}
}

func (m *middle) serve(c net.Conn) {
	defer c.Close()
	if m.line != nil {
		c = m.line(c)
	}
	if m.cert != nil {
		t := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*m.cert}})
		if t.Handshake() != nil {
			return
		}
		c = t
	}
	br := bufio.NewReader(c)
	first, err := br.Peek(1)
	if err != nil {
		return
	}
	var ok bool
	if first[0] == 5 {
		ok = m.socks(c, br)
	} else {
		ok = m.connect(c, br)
	}
	if ok {
		m.tunnel(c, br)
	}
}

func (m *middle) connect(c net.Conn, br *bufio.Reader) bool {
	r, err := http.ReadRequest(br)
	if err != nil {
		return false
	}
	m.mu.Lock()
	m.targets, m.requests = append(m.targets, r.Method+" "+r.RequestURI), append(m.requests, r)
	m.mu.Unlock()
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(m.user+":"+m.pass))
	switch {
	case m.refuse != "":
		io.WriteString(c, m.refuse)
		return false
	case m.user != "" && r.Header.Get("Proxy-Authorization") != want:
		io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n")
		return false
	}
	io.WriteString(c, "HTTP/1.1 200 Connection established\r\nContent-Length: 0\r\n\r\n")
	return true
}

func (m *middle) socks(c net.Conn, br *bufio.Reader) bool {
	read := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(br, b); err != nil {
			return nil
		}
		return b
	}
	hello := read(2)
	if hello == nil {
		return false
	}
	methods := read(int(hello[1]))
	switch {
	case m.user == "":
		c.Write([]byte{5, 0})
	case !strings.Contains(string(methods), "\x02"):
		c.Write([]byte{5, 0xFF})
		return false
	default:
		c.Write([]byte{5, 2})
		login := read(2)
		if login == nil {
			return false
		}
		user := read(int(login[1]))
		pass := read(int(append(read(1), 0)[0]))
		if string(user) != m.user || string(pass) != m.pass {
			c.Write([]byte{1, 1})
			return false
		}
		c.Write([]byte{1, 0})
	}
	ask := read(4)
	if ask == nil {
		return false
	}
	host := ""
	switch ask[3] {
	case 1, 4:
		addr, _ := netip.AddrFromSlice(read(map[byte]int{1: 4, 4: 16}[ask[3]]))
		host = addr.String()
	case 3:
		host = string(read(int(append(read(1), 0)[0])))
	}
	port := read(2)
	if port == nil {
		return false
	}
	m.mu.Lock()
	m.targets = append(m.targets, "SOCKS "+net.JoinHostPort(host, fmt.Sprint(int(port[0])<<8|int(port[1]))))
	m.mu.Unlock()
	if m.refuse != "" {
		io.WriteString(c, m.refuse)
		return false
	}
	c.Write([]byte{5, 0, 0, 3, 4, 'h', 'o', 's', 't', 0, 80})
	return true
}

// tunnel carries bytes between the client and the server until one of them ends.
func (m *middle) tunnel(c net.Conn, br *bufio.Reader) {
	s, err := m.server.DialContext(context.Background(), "tcp", "")
	if err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(s, br)
		s.Close()
	}()
	io.Copy(c, s)
	c.Close()
	s.Close()
	<-done
}

func (m *middle) asked() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.targets
}

// A badLine is a connection that does something to the bytes it sends: after the
// first good ones it cuts or says nothing any more; split and pause make it slow.
type badLine struct {
	net.Conn
	good  int // -1: all of them
	cut   bool
	split bool
	pause time.Duration
}

// quiet is for servers whose clients misbehave on purpose.
var quiet = log.New(io.Discard, "", 0)

var errCutLine = errors.New("the line was cut")

func (b *badLine) Write(p []byte) (int, error) {
	for i := range p {
		if b.good == 0 {
			if b.cut {
				b.Close()
				return i, errCutLine
			}
			io.Copy(io.Discard, b.Conn) // until the client gives up
			return i, errCutLine
		}
		if !b.split && b.good < 0 {
			time.Sleep(b.pause)
			return b.Conn.Write(p)
		}
		if _, err := b.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
		time.Sleep(b.pause)
		b.good--
	}
	return len(p), nil
}
