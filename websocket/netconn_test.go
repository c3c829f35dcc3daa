package websocket_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
	"github.com/duplexgo/duplex/websocket/wstest"
)

func TestJSON(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		type order struct {
			ID   int    `json:"id"`
			Note string `json:"note"`
		}
		c, s := pair(t, kind, nil)
		want := order{7, "grüße <&>"}
		if err := c.WriteJSON(bg, want); err != nil {
			t.Fatal(err)
		}
		var got order
		if err := s.ReadJSON(bg, &got); err != nil || got != want {
			t.Errorf("%+v, %v", got, err)
		}
		if err := c.WriteJSON(bg, func() {}); err == nil {
			t.Error("a function was sent")
		}
		for _, bad := range []string{"", "{", `{"id":"x"}`, `{} {}`} {
			c.Write(bg, websocket.Text, []byte(bad))
			if err := s.ReadJSON(bg, &got); err == nil {
				t.Errorf("%q was taken", bad)
			}
		}
		c.Write(bg, websocket.Binary, []byte(`{"id":8}`)) // the connection lives
		if err := s.ReadJSON(bg, &got); err != nil || got.ID != 8 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestNetConn(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, s := pair(t, kind, nil)
		a, b := c.NetConn(websocket.Binary), s.NetConn(websocket.Binary)
		sent := message(100_000)
		done := async(func() error {
			for rest := sent; rest != ""; {
				n := min(len(rest), 1+len(rest)/3)
				if _, err := a.Write([]byte(rest[:n])); err != nil {
					return err
				}
				if _, err := a.Write(nil); err != nil { // an empty message is no end
					return err
				}
				rest = rest[n:]
			}
			return a.Close()
		})
		got, err := io.ReadAll(b)
		if err != nil || string(got) != sent {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
		if err := done(); err != nil {
			t.Error(err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write after the end: %v", err)
		}
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read after Close: %v", err)
		}
		if a.RemoteAddr() == nil || a.LocalAddr().String() == "" {
			t.Error("no addresses")
		}
	})
}

// A deadline stops a call in the middle of a message and loses nothing; it can be
// moved while the call waits.
func TestNetConnDeadline(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, true, &websocket.Options{PingInterval: -1})
		n := c.NetConn(websocket.Text)
		frame := peer.text("hello")
		peer.send(frame[:len(frame)-2])
		b := make([]byte, 10)
		if got, err := io.ReadFull(n, b[:3]); got != 3 || err != nil {
			t.Fatal(got, err)
		}
		for _, d := range []time.Duration{-1, time.Second, 2 * time.Second} {
			start := time.Now()
			n.SetReadDeadline(start.Add(d))
			_, err := n.Read(b[3:])
			var timeout net.Error
			if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(start) != max(d, 0) {
				t.Errorf("%v after %v, want a timeout after %v", err, time.Since(start), d)
			}
		}
		n.SetDeadline(time.Now().Add(time.Second))
		late := async(func() error { _, err := io.ReadFull(n, b[3:5]); return err })
		synctest.Wait()
		n.SetDeadline(time.Now().Add(time.Hour)) // while Read waits with the other one
		time.Sleep(time.Minute)
		peer.send(frame[len(frame)-2:])
		if err := late(); err != nil || string(b[:5]) != "hello" {
			t.Errorf("%q, %v", b[:5], err)
		}
		n.SetDeadline(time.Time{})
		peer.send(peer.text("again"))
		if got, err := n.Read(b); err != nil || string(b[:got]) != "again" {
			t.Errorf("%q, %v", b[:got], err)
		}
	})
}

func TestNetConnEnds(t *testing.T) {
	tests := []struct {
		name string
		end  func(peer *raw)
		want func(err error) bool
	}{
		{"normal", func(p *raw) { p.send(p.close(1000, "")) }, func(err error) bool { return err == io.EOF }},
		{"going away", func(p *raw) { p.send(p.close(1001, "")) }, func(err error) bool { return err == io.EOF }},
		{"failed", func(p *raw) { p.send(p.close(1011, "oh")) }, func(err error) bool { return errors.Is(err, net.ErrClosed) && strings.Contains(err.Error(), "oh") }},
		{"broke", func(p *raw) { p.Close() }, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		{"the other type", func(p *raw) { p.send(p.frame(true, wire.OpText, "x")) }, func(err error) bool { return strings.Contains(err.Error(), "not binary") }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			overKinds(t, func(t *testing.T, kind wstest.Kind) {
				c, peer := against(t, kind, true, nil)
				test.end(peer)
				if _, err := c.NetConn(websocket.Binary).Read(make([]byte, 1)); !test.want(err) {
					t.Error(err)
				}
			})
		})
	}
}

// HTTP over it, as an example of a protocol that wants a stream.
func TestNetConnCarriesHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := wstest.Pipe(nil, nil)
		serving := async(func() error {
			return http.Serve(&oneConn{conn: s.NetConn(websocket.Binary)}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				w.Write(b)
			}))
		})
		n := c.NetConn(websocket.Binary)
		r, _ := http.NewRequest("POST", "http://server.test/", strings.NewReader(message(100_000)))
		go r.Write(n)
		resp, err := http.ReadResponse(bufio.NewReader(n), r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil || string(b) != message(100_000) {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		n.Close()
		serving()
		c.CloseNow()
		s.CloseNow()
	})
}

// A oneConn is a listener with one connection.
type oneConn struct{ conn net.Conn }

func (o *oneConn) Accept() (c net.Conn, err error) {
	if c, o.conn = o.conn, nil; c == nil {
		err = net.ErrClosed
	}
	return c, err
}
func (o *oneConn) Close() error   { return nil }
func (o *oneConn) Addr() net.Addr { return &net.TCPAddr{} }
