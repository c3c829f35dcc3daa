package websocket_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math"
	"math/big"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// A host is where an http.Handler runs in a test. In memory time is fake. Over the
// loopback it is real: a Handler's plain connections are read by its loop there, and
// those over TLS as their listener lets it: by the loop, or parked beside it.
type host struct {
	name   string
	memory bool
	tls    bool
	below  bool // the listener below TLS is NewListener's
	narrow bool // the server's sockets hold little of what is sent
}

var (
	inMemory = host{name: "memory", memory: true}
	overLoop = host{name: "loop"}
	overTLS  = host{name: "TLS", tls: true}
	inTLS    = host{name: "TLS in the loop", tls: true, below: true}

	withSockets = []host{overLoop, overTLS, inTLS}
	hosts       = append([]host{inMemory}, withSockets...)
)

// overHosts runs a test for each host.
func overHosts(t *testing.T, test func(t *testing.T, h host)) {
	for _, h := range hosts {
		t.Run(h.name, func(t *testing.T) { inTime(t, h.memory, func(t *testing.T) { test(t, h) }) })
	}
}

// inTime runs a test in fake time, or in real time beside others: most of that is
// waited for.
func inTime(t *testing.T, fake bool, test func(t *testing.T)) {
	if fake {
		synctest.Test(t, test)
	} else {
		t.Parallel()
		test(t)
	}
}

// patience is how long something may take that must happen. In fake time that is
// longer than anything that is waited for; in real time it only has to end a test
// that hangs.
func (h host) patience() time.Duration {
	if h.memory {
		return 24 * time.Hour
	}
	return 30 * time.Second
}

// within waits for a value.
func within[T any](t testing.TB, h host, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(h.patience()):
		t.Fatalf("%s did not happen within %v", what, h.patience())
	}
	return v
}

// eventually waits until a condition holds that nobody tells of.
func eventually(t testing.TB, h host, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(h.patience()); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen within %v", what, h.patience())
		}
	}
}

// lasted fails unless that much time has passed: exactly that in fake time; in real
// time a loaded machine may take any time longer.
func (h host) lasted(t testing.TB, begin time.Time, want time.Duration) {
	t.Helper()
	if got := time.Since(begin); got < want || h.memory && got != want {
		t.Errorf("it took %v, want %v", got, want)
	}
}

// short returns a timeout to be waited for: long in fake time, where that costs
// nothing.
func (h host) short(long time.Duration) time.Duration {
	if h.memory {
		return long
	}
	return 100 * time.Millisecond
}

// A site is a server on a host.
type site struct {
	host
	t       testing.TB
	url     string
	offer   string                                                            // of extensions, by a peer
	connect func(ctx context.Context, network, addr string) (net.Conn, error) // without TLS
}

// run has the host serve until the test ends.
func (h host) run(t testing.TB, handler http.Handler) *site {
	t.Helper()
	if h.memory {
		s := wstest.NewServer(handler)
		t.Cleanup(s.Close)
		return &site{host: h, t: t, url: s.URL, connect: s.Listener.DialContext}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{host: h, t: t, url: "ws://" + ln.Addr().String()}
	dialer := new(net.Dialer)
	s.connect = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, ln.Addr().String())
	}
	if h.narrow {
		ln = narrowListener{ln}
	}
	if h.tls {
		s.url = "wss://" + ln.Addr().String()
		if h.below {
			ln = websocket.NewListener(ln)
		}
		ln = tls.NewListener(ln, certified())
	}
	srv := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	served := async(func() error { return srv.Serve(ln) })
	t.Cleanup(func() {
		srv.Close()
		served()
	})
	return s
}

// A narrowListener makes the system's buffers for sending small.
type narrowListener struct{ net.Listener }

func (l narrowListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		c.(*net.TCPConn).SetWriteBuffer(16 << 10)
	}
	return c, err
}

// certified returns the settings of a server whose certificate nobody has signed.
var certified = sync.OnceValue(func() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "server.test"},
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
})

var uncertified = &tls.Config{InsecureSkipVerify: true} // the certificate is our own

// Dial connects a client.
func (s *site) Dial(ctx context.Context, path string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	var v websocket.DialOptions
	if o != nil {
		v = *o
	}
	v.DialContext, v.TLSConfig = s.connect, uncertified
	return websocket.Dial(ctx, s.url+path, &v)
}

// dial is Dial where it must succeed.
func dial(t testing.TB, s *site, o *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	c, _, err := s.Dial(bg, "/", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	return c
}

// stream returns a client's stream, TLS done.
func (s *site) stream() net.Conn {
	s.t.Helper()
	c, err := s.connect(bg, "tcp", "server.test:80")
	if err != nil {
		s.t.Fatal(err)
	}
	if !s.memory {
		c.SetDeadline(time.Now().Add(s.patience())) // a test fails then, and does not hang
	}
	if s.tls {
		c = tls.Client(c, uncertified)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// peer returns a raw client, its opening handshake done. The bytes are sent
// together with the handshake.
func (s *site) peer(t *testing.T, first ...[]byte) *raw {
	t.Helper()
	peer := offering(t, s.offer, s.stream(), first...)
	peer.open(t)
	return peer
}

// A way is one in which a server's end of a connection can run. What a peer gets
// to see, and what the application is told, must be the same in all of them.
type way struct {
	host
	kind    wstest.Kind // of a Conn in memory
	handler bool        // the end is a Handler's; else the test calls Read
	deflate bool        // compression is agreed on: two Conns compress all, against a peer nothing is
}

var (
	ways = []way{
		{host{name: "Conn TCP", memory: true}, wstest.TCP, false, false},
		{host{name: "Conn Bare", memory: true}, wstest.Bare, false, false},
		{host{name: "Conn loopback", narrow: true}, wstest.TCP, false, false},
		{host{name: "Conn TLS", tls: true, narrow: true}, wstest.TCP, false, false},
		{host{name: "Conn TLS below", tls: true, below: true, narrow: true}, wstest.TCP, false, false},
		{host{name: "Handler memory", memory: true}, wstest.TCP, true, false},
		{host{name: "Handler loop", narrow: true}, wstest.TCP, true, false},
		{host{name: "Handler TLS", tls: true, narrow: true}, wstest.TCP, true, false},
		{host{name: "Handler TLS in the loop", tls: true, below: true, narrow: true}, wstest.TCP, true, false},
		{host{name: "Conn deflate", memory: true}, wstest.TCP, false, true},
		{host{name: "Handler deflate", narrow: true}, wstest.TCP, true, true},
		{host{name: "Handler TLS deflate", tls: true, narrow: true}, wstest.TCP, true, true},
		{host{name: "Handler TLS in the loop deflate", tls: true, below: true, narrow: true}, wstest.TCP, true, true},
	}
)

// parked reports whether a loop reads the end, and nobody waits for its writes.
func (w way) parked() bool { return w.handler && !w.memory && (!w.tls || w.below) }

// overWays runs a test for each way.
func overWays(t *testing.T, test func(t *testing.T, w way)) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) { inTime(t, w.memory, func(t *testing.T) { test(t, w) }) })
	}
}

// An end is a server's end under test.
type end struct {
	*websocket.Conn
	way
	t        testing.TB
	messages chan string // of a Handler
	closed   chan error  // of a Handler
}

// against returns a server's end and the peer that the test plays, a client.
func (w way) against(t *testing.T, o *websocket.Options) (*end, *raw) {
	t.Helper()
	if w.memory && !w.handler && !w.deflate {
		c, peer := against(t, w.kind, true, o)
		return &end{Conn: c, way: w, t: t}, peer
	}
	e, s := w.serve(t, w.extended(o, math.MaxInt))
	if w.deflate {
		s.offer = "permessage-deflate; client_max_window_bits"
	}
	peer := s.peer(t)
	return e.await(), peer
}

// extended returns options with those of a way that compresses messages from a size on.
func (w way) extended(o *websocket.Options, threshold int) *websocket.Options {
	if !w.deflate {
		return o
	}
	v := new(websocket.Options)
	if o != nil {
		*v = *o
	}
	v.Extensions = []websocket.Extension{&websocket.Deflate{Threshold: threshold}}
	return v
}

// pair returns a server's end and a client.
func (w way) pair(t *testing.T, o *websocket.Options) (e *end, client *websocket.Conn) {
	t.Helper()
	if w.memory && !w.handler && !w.deflate {
		client, server := pair(t, w.kind, o)
		return &end{Conn: server, way: w, t: t}, client
	}
	o = w.extended(o, -1)
	opening, s := w.serve(t, o)
	v := new(websocket.DialOptions)
	if o != nil {
		v.Options = *o
	}
	client = dial(t, s, v)
	return opening.await(), client
}

// An opening is an end that is still to come.
type opening struct {
	*end
	opened chan *websocket.Conn
}

// await returns the end when there is one.
func (o *opening) await() *end {
	o.t.Helper()
	o.Conn = within(o.t, o.host, "Open", o.opened)
	return o.end
}

// serve runs a server for one connection.
func (w way) serve(t testing.TB, o *websocket.Options) (*opening, *site) {
	var v websocket.AcceptOptions
	if o != nil {
		v.Options = *o
	}
	e := &opening{
		end:    &end{way: w, t: t, messages: make(chan string, 10_000), closed: make(chan error, 1)},
		opened: make(chan *websocket.Conn, 1),
	}
	var h http.Handler = &websocket.Handler{
		AcceptOptions: v,
		Open:          func(c *websocket.Conn, _ *http.Request) { e.opened <- c },
		Message:       func(_ *websocket.Conn, _ websocket.MessageType, p []byte) { e.messages <- string(p) },
		Close:         func(_ *websocket.Conn, err error) { e.closed <- err },
	}
	if !w.handler {
		h = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if c, err := websocket.Accept(rw, r, &v); err == nil {
				t.Cleanup(func() { c.CloseNow() })
				e.opened <- c
			}
		})
	}
	return e, w.run(t, h)
}

// read fails unless the next message is this one.
func (e *end) read(want string) {
	e.t.Helper()
	p, err := e.next()
	if err != nil {
		e.t.Fatalf("no message, but %v", err)
	}
	if p != want {
		e.t.Fatalf("got %d bytes %.40q, want %d bytes %.40q", len(p), p, len(want), want)
	}
}

// next returns the next message, or how the connection ended.
func (e *end) next() (string, error) {
	if !e.handler {
		ctx, cancel := context.WithTimeout(bg, e.patience())
		defer cancel()
		_, p, err := e.Read(ctx)
		return string(p), err
	}
	select {
	case p := <-e.messages:
		return p, nil
	case err := <-e.closed:
		e.closed <- err
		select {
		case p := <-e.messages: // they came before
			return p, nil
		default:
			return "", err
		}
	case <-time.After(e.patience()):
		return "", errors.New("neither a message nor the end came")
	}
}

// closing has the end close, and returns a function that waits for the result:
// nil where this side closed first and the peer answered.
func (e *end) closing(code websocket.CloseCode, reason string) func() error {
	if !e.handler {
		return async(func() error { return e.Close(code, reason) })
	}
	if err := e.Close(code, reason); err != nil {
		return func() error { return err }
	}
	return func() error {
		err := e.reading()()
		if end, ok := err.(*websocket.CloseError); ok && end.Local && end.Code != websocket.CloseAbnormal {
			return nil
		}
		return err
	}
}

// stick has the end write more than the line takes to a peer that does not read,
// and returns a function that waits for that Write.
func (e *end) stick(peer *raw) func() error {
	if e.memory {
		peer.s.Peer().SetBuffer(0)
	}
	wrote := async(func() error { return e.Write(bg, websocket.Binary, make([]byte, 2<<20)) })
	if e.parked() {
		wrote() // it does not wait
	}
	eventually(e.t, e.host, "writing", e.IsWriting)
	return wrote
}

// echoing has the end send back every message, and returns a function that waits
// for the error that ends it.
func (e *end) echoing() func() error {
	return async(func() error {
		for {
			p, err := e.next()
			if err == nil {
				err = e.Write(bg, websocket.Binary, []byte(p))
			}
			if err != nil {
				return err
			}
		}
	})
}

// reading has the end read on, which a Handler's does anyhow, and returns a
// function that waits for the next message or error.
func (e *end) reading() func() error {
	return async(func() error { _, err := e.next(); return err })
}

// split has what the peer sends read in pieces of n bytes. Somebody must read.
func (e *end) split(peer *raw, n int) {
	if e.memory {
		peer.s.Peer().SplitReads(n)
		return
	}
	peer.Stream = &splitter{peer.Stream, n, math.MaxUint64, e}
}

// A splitter writes a piece when all before have been read.
type splitter struct {
	websocket.Stream
	size int
	last uint64 // of e's waits for bytes, when a piece was written
	e    *end
}

func (s *splitter) Write(p []byte) (n int, err error) {
	for piece := range slices.Chunk(p, s.size) {
		if err := s.await(); err != nil {
			return n, err
		}
		m, err := s.Stream.Write(piece)
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

func (s *splitter) await() error {
	if s.e.handler && s.e.tls {
		return nil // each piece is a record, which is read for itself
	}
	for limit := time.Now().Add(s.e.patience()); ; time.Sleep(20 * time.Microsecond) {
		if now, waits := s.e.Waits(); waits && uint64(now) != s.last {
			s.last = uint64(now)
			return nil
		}
		if time.Now().After(limit) {
			return errors.New("nobody has read a piece")
		}
	}
}
