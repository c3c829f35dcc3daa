package websocket_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// A crumbler sends what is written to it in pieces of n bytes.
type crumbler struct {
	*net.TCPConn
	n int
}

func (c crumbler) Write(p []byte) (written int, err error) {
	for len(p) > 0 && err == nil {
		var n int
		n, err = c.TCPConn.Write(p[:min(c.n, len(p))])
		written += n
		p = p[n:]
		runtime.Gosched() // the server may see the piece alone
	}
	return written, err
}

// Wherever records are cut on their way, the messages in them are the same: crypto/tls
// goes on in the middle of a record.
func TestRecordsInPieces(t *testing.T) {
	parks(t)
	for _, n := range []int{1, 3, 21, 1000} {
		s := inTLS.run(t, echoHandler(nil))
		s.connect = crumbling(s.connect, n)
		c := dial(t, s, nil)
		for _, size := range []int{0, 1, 125, 126, 1 << 10, 20_000, 70_000} {
			if n == 1 && size > 20_000 {
				continue // a system call each
			}
			want := message(size)
			if err := c.Write(bg, websocket.Text, []byte(want)); err != nil {
				t.Fatal(err)
			}
			if _, got, err := c.Read(promptly(t)); err != nil || string(got) != want {
				t.Fatalf("pieces of %d bytes, message of %d: got %d bytes, %v", n, size, len(got), err)
			}
		}
	}
}

func crumbling(connect func(context.Context, string, string) (net.Conn, error), n int) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := connect(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return crumbler{c.(*net.TCPConn), n}, nil
	}
}

// byHand serves one connection without net/http's server: serve gets the request of the
// first record, and what the listener has accepted.
func byHand(t *testing.T, serve func(w http.ResponseWriter, r *http.Request, kept net.Conn) error) (s *site, served func() error) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := websocket.NewListener(tcp)
	t.Cleanup(func() { ln.Close() })
	s = &site{host: inTLS, connect: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, ln.Addr().String())
	}}
	return s, async(func() error {
		kept, err := ln.Accept()
		if err != nil {
			return err
		}
		taken := handOver{tls.Server(kept, certified())}
		r, err := http.ReadRequest(bufio.NewReader(taken.Conn))
		if err != nil {
			return err
		}
		return serve(taken, r, kept)
	})
}

// Frames that come in one packet with the opening handshake may lie in crypto/tls
// before the loop knows the connection: no event tells of them.
func TestFramesReadBeforeParking(t *testing.T) {
	parks(t)
	s, served := byHand(t, func(w http.ResponseWriter, r *http.Request, _ net.Conn) error {
		echoHandler(nil).ServeHTTP(w, r)
		return nil
	})
	client, held := held(t, s)
	held.hold = true
	peer := handshaking(t, client)
	peer.send(peer.text("one")) // a record of its own
	held.release(t)
	if err := served(); err != nil {
		t.Fatal(err)
	}
	peer.open(t)
	peer.want("text one")
}

// Over TLS, too, whoever waits for a message has no buffer.
func TestReadOverTLSWaitsWithoutABuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := wstest.Streams()
		defer theirs.Close()
		server, client := tls.Server(ours, certified()), tls.Client(theirs, &tls.Config{InsecureSkipVerify: true})
		shaken := async(server.Handshake)
		if err := errors.Join(client.Handshake(), shaken()); err != nil {
			t.Fatal(err)
		}
		c := websocket.Server(server, nil)
		defer c.CloseNow()
		peer := &raw{Peer: wstest.NewPeer(client, true), t: t}
		for _, m := range []string{"", "short", message(3000), message(100_000), "last"} {
			got := async(func() error { read(t, c, m); return nil })
			synctest.Wait()
			if c.HoldsBuffer() {
				t.Errorf("a buffer is held before %d bytes", len(m))
			}
			frame := peer.text(m)
			peer.send(frame[:1])
			peer.send(frame[1 : len(frame)/2])
			peer.send(frame[len(frame)/2:])
			if err := got(); err != nil {
				t.Error(err)
			}
		}
	})
}

// Who has kept what the listener accepted finds the TCP connection in it, though an
// accepted Conn reads and writes in a way of its own.
func TestNetConnBelowAConn(t *testing.T) {
	s, served := byHand(t, func(w http.ResponseWriter, r *http.Request, kept net.Conn) error {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return err
		}
		defer c.CloseNow()
		below := kept.(interface{ NetConn() net.Conn }).NetConn()
		if below, ok := below.(*net.TCPConn); !ok || below.SetNoDelay(true) != nil {
			t.Errorf("below is a %T", below)
		}
		return c.Write(bg, websocket.Text, []byte("hello"))
	})
	client, _ := held(t, s)
	peer := handshaking(t, client)
	peer.open(t)
	peer.want("text hello")
	if err := served(); err != nil {
		t.Fatal(err)
	}
}

// A handOver is a ResponseWriter that gives away its connection.
type handOver struct{ *tls.Conn }

func (h handOver) Header() http.Header                          { return nil }
func (h handOver) WriteHeader(int)                              {}
func (h handOver) Hijack() (net.Conn, *bufio.ReadWriter, error) { return h.Conn, nil, nil }

// The end of TLS may come without the end of TCP, and in one packet with the last
// message.
func TestCloseNotifyBehindAMessage(t *testing.T) {
	parks(t)
	d := newDiary(t, inTLS)
	got := make(chan string, 1)
	h := d.handler(nil)
	h.Message = func(_ *websocket.Conn, _ websocket.MessageType, p []byte) { got <- string(p) }
	opened := make(chan *websocket.Conn, 1)
	h.Open = func(c *websocket.Conn, _ *http.Request) { opened <- c }
	client, held := held(t, inTLS.run(t, h))
	peer := handshaking(t, client)
	peer.open(t)
	eventually(t, inTLS, "parking", within(t, inTLS, "Open", opened).IsParked)
	held.hold = true
	peer.send(peer.text("last"))
	client.CloseWrite()
	held.release(t)
	if p := within(t, inTLS, "the message", got); p != "last" {
		t.Errorf("got %q", p)
	}
	if err := d.end(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the end is %v, want an unexpected end", err)
	}
}

// The peer may ask for new keys at any time, and be answered with the server's. RFC 8446,
// 4.6.3.
func TestKeysAreUpdated(t *testing.T) {
	parks(t)
	client := sealing(t, inTLS.run(t, echoHandler(nil)))
	peer := handshaking(t, client)
	peer.open(t)
	for range 3 {
		peer.send(peer.text("old keys"))
		client.updateKeys(t)
		peer.send(peer.text("new keys"))
		peer.want("text old keys")
		peer.want("text new keys")
	}
}

// What crypto/tls answers by itself has its place among the records of messages that
// others write, be the socket full or not: the client would not decrypt what has not.
func TestKeysAreUpdatedBetweenWrites(t *testing.T) {
	parks(t)
	const (
		writers, messages, size = 3, 40, 100_000
		updates                 = 12 // 17 in a row, and the client's crypto/tls has enough
	)
	narrow := inTLS
	narrow.narrow = true
	h := echoHandler(nil)
	wrote := make(chan error)
	h.Open = func(c *websocket.Conn, _ *http.Request) {
		for range writers {
			go func() {
				for i := range messages {
					wrote <- c.Write(bg, websocket.Binary, make([]byte, size/(i%7+1)))
				}
			}()
		}
	}
	client := sealing(t, narrow.run(t, h))
	peer := handshaking(t, client)
	peer.open(t)
	read := async(func() error {
		_, err := io.Copy(io.Discard, client.Conn)
		return err
	})
	for i := range writers * messages {
		if err := within(t, inTLS, "writing", wrote); err != nil {
			t.Error(err)
		}
		if i%(writers*messages/updates) == 0 {
			peer.send(peer.text("x"))
			client.updateKeys(t)
		}
	}
	peer.send(peer.frame(true, wire.OpClose, ""))
	if err := read(); err != nil {
		t.Errorf("the client read: %v", err)
	}
}

// After some errors crypto/tls would go on reading. That a message has come with one must
// not hide it.
func TestBrokenTLSBehindAMessage(t *testing.T) {
	parks(t)
	d := newDiary(t, inTLS)
	got := make(chan string, 1)
	h := d.handler(nil)
	h.Message = func(_ *websocket.Conn, _ websocket.MessageType, p []byte) { got <- string(p) }
	opened := make(chan *websocket.Conn, 1)
	h.Open = func(c *websocket.Conn, _ *http.Request) { opened <- c }
	client := sealing(t, inTLS.run(t, h))
	peer := handshaking(t, client)
	peer.open(t)
	eventually(t, inTLS, "parking", within(t, inTLS, "Open", opened).IsParked)
	client.tcp.hold = true
	peer.send(peer.text("last"))
	client.seal(t, recordHandshake, make([]byte, 4)) // a HelloRequest, which no client sends
	client.tcp.release(t)
	if p := within(t, inTLS, "the message", got); p != "last" {
		t.Errorf("got %q", p)
	}
	if err := d.end(); err == nil || !strings.Contains(err.Error(), "handshake message") {
		t.Errorf("the end is %v", err)
	}
}

// The end of TCP may come together with part of a record, or with one that holds no bytes
// of messages: no other event tells of it.
func TestEndOfTCPBehindARecord(t *testing.T) {
	parks(t)
	for name, part := range map[string]func(c *sealer) []byte{
		"half a record": func(c *sealer) []byte { return c.record(recordData, make([]byte, 50))[:20] },
		"no bytes":      func(c *sealer) []byte { return c.record(recordData, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDiary(t, inTLS)
			h := d.handler(nil)
			opened := make(chan *websocket.Conn, 1)
			h.Open = func(c *websocket.Conn, _ *http.Request) { opened <- c }
			client := sealing(t, inTLS.run(t, h))
			peer := handshaking(t, client)
			peer.open(t)
			eventually(t, inTLS, "parking", within(t, inTLS, "Open", opened).IsParked)
			if _, err := client.tcp.Write(part(client)); err != nil {
				t.Fatal(err)
			}
			client.tcp.Close()
			if err := d.end(); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("the end is %v, want an unexpected end", err)
			}
		})
	}
}

// A sealer is a client whose records are made here: crypto/tls never sends some.
type sealer struct {
	*tls.Conn // reads
	tcp       *holder
	secret    []byte
	aead      cipher.AEAD
	iv        []byte
	number    uint64 // of the next record
}

const (
	recordHandshake = 22
	recordData      = 23
)

func sealing(t *testing.T, s *site) *sealer {
	t.Helper()
	tcp, err := s.connect(bg, "tcp", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tcp.Close() })
	tcp.SetDeadline(time.Now().Add(s.patience()))
	var secrets bytes.Buffer
	config := uncertified.Clone()
	config.KeyLogWriter = &secrets
	c := &sealer{tcp: &holder{Conn: tcp}}
	c.Conn = tls.Client(c.tcp, config)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if c.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skip("this machine prefers another cipher")
	}
	for line := range strings.Lines(secrets.String()) {
		if f := strings.Fields(line); f[0] == "CLIENT_TRAFFIC_SECRET_0" {
			if c.secret, err = hex.DecodeString(f[2]); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.rekey(t)
	return c
}

// expand derives from the secret. RFC 8446, 7.1.
func (c *sealer) expand(t *testing.T, label string, n int) []byte {
	label = "tls13 " + label
	b, err := hkdf.Expand(sha256.New, c.secret, string([]byte{0, byte(n), byte(len(label))})+label+"\x00", n)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (c *sealer) rekey(t *testing.T) {
	block, err := aes.NewCipher(c.expand(t, "key", 16))
	if err == nil {
		c.aead, err = cipher.NewGCM(block)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.iv, c.number = c.expand(t, "iv", 12), 0
}

// updateKeys asks for an update of the server's keys, and updates the client's.
func (c *sealer) updateKeys(t *testing.T) {
	const keyUpdate, requested = 24, 1
	c.seal(t, recordHandshake, []byte{keyUpdate, 0, 0, 1, requested})
	c.secret = c.expand(t, "traffic upd", len(c.secret))
	c.rekey(t)
}

// seal sends a record. RFC 8446, 5.2.
func (c *sealer) seal(t *testing.T, typ byte, p []byte) {
	t.Helper()
	if _, err := c.tcp.Write(c.record(typ, p)); err != nil {
		t.Fatal(err)
	}
}

func (c *sealer) record(typ byte, p []byte) []byte {
	nonce := bytes.Clone(c.iv)
	for i, b := range binary.BigEndian.AppendUint64(nil, c.number) {
		nonce[len(nonce)-8+i] ^= b
	}
	c.number++
	head := binary.BigEndian.AppendUint16([]byte{recordData, 3, 3}, uint16(len(p)+1+c.aead.Overhead()))
	return c.aead.Seal(head, nonce, append(bytes.Clone(p), typ), head)
}

func (c *sealer) Write(p []byte) (int, error) { return c.tcp.Write(c.record(recordData, p)) }

// held returns a client of TLS, and what it writes to.
func held(t *testing.T, s *site) (*tls.Conn, *holder) {
	t.Helper()
	tcp, err := s.connect(bg, "tcp", "")
	if err != nil {
		t.Fatal(err)
	}
	held := &holder{Conn: tcp}
	client := tls.Client(held, uncertified)
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tcp.Close() })
	return client, held
}

// A holder lets writes gather while hold is true.
type holder struct {
	net.Conn
	hold bool
	held []byte
}

// release sends what has gathered.
func (h *holder) release(t *testing.T) {
	t.Helper()
	h.hold = false
	if _, err := h.Write(nil); err != nil {
		t.Fatal(err)
	}
}

// crypto/tls lets nothing be written after its CloseWrite.
func (h *holder) SetWriteDeadline(time.Time) error { return nil }

func (h *holder) Write(p []byte) (int, error) {
	h.held = append(h.held, p...)
	if h.hold {
		return len(p), nil
	}
	_, err := h.Conn.Write(h.held)
	h.held = nil
	return len(p), err
}

// narrowInTLS returns a connection over TLS that the loop reads, whose socket holds
// little of what is sent, and its peer.
func narrowInTLS(t *testing.T, writeTimeout time.Duration) (*end, *raw) {
	t.Helper()
	w := way{host: inTLS, handler: true}
	w.narrow = true
	return w.against(t, &websocket.Options{WriteTimeout: writeTimeout, PingInterval: -1})
}

// stuckInTLS is narrowInTLS when the socket has taken what it can of a long message.
func stuckInTLS(t *testing.T) (*end, *raw) {
	t.Helper()
	e, peer := narrowInTLS(t, time.Hour)
	if err := e.Write(bg, websocket.Binary, make([]byte, 16<<20)); err != nil {
		t.Fatal(err)
	}
	eventually(t, inTLS, "stuck", e.IsStuck)
	return e, peer
}

// A peer that has crypto/tls answer and takes no answers does not fill memory.
func TestAnswersOfTLSAreLimited(t *testing.T) {
	parks(t)
	e, peer := narrowInTLS(t, -1)
	e.stick(peer)
	before := e.Unsent()
	for range 1 << 20 {
		if err := e.AnswerTLS(make([]byte, 100)); err != nil {
			if more := e.Unsent() - before; more > websocket.MostSealed {
				t.Errorf("%d more bytes wait", more)
			}
			return
		}
	}
	t.Errorf("a million answers were taken, and %d bytes wait", e.Unsent())
}

// What crypto/tls has to say by itself leaves when there is room, though nobody writes: the
// end of TLS would be lost behind a close frame that has filled the socket.
func TestAnswersOfTLSLeaveWhenThereIsRoom(t *testing.T) {
	parks(t)
	e, peer := narrowInTLS(t, -1)
	const size = 1 << 10
	sent := 0
	for ; e.Unsent() == 0; sent += size { // until the socket takes no more
		if err := e.AnswerTLS(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	tcp := peer.Stream.(*tls.Conn).NetConn()
	if _, err := io.CopyN(io.Discard, tcp, int64(sent)); err != nil {
		t.Fatalf("%d bytes wait: %v", e.Unsent(), err)
	}
}

// A peer that takes part of a record has taken something, and the write timeout begins
// again.
func TestProgressWithinRecords(t *testing.T) {
	parks(t)
	e, peer := stuckInTLS(t)
	tcp := peer.Stream.(*tls.Conn).NetConn()
	for b := make([]byte, 4<<10); ; {
		since, unsent := e.StuckSince(), e.Unsent()
		if unsent < 1<<20 {
			break
		}
		for e.Unsent() == unsent {
			if _, err := tcp.Read(b); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, inTLS, "another beginning of the write timeout", func() bool { return e.StuckSince() > since })
	}
}

// A peer that takes nothing has the write timeout once, and not a second one for what it
// had taken before the first.
func TestNoProgressWithinRecords(t *testing.T) {
	parks(t)
	e, _ := stuckInTLS(t)
	for e.IsStuck() {
		unsent := e.Unsent()
		e.WriteTimesOut()
		if e.IsStuck() && e.Unsent() == unsent {
			t.Fatal("the peer got more time, and had taken nothing")
		}
	}
	if err := e.reading()(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the end is %v", err)
	}
}

// Whoever has kept the connection, of http.Server's ConnState say, may ask for its
// addresses while a Handler takes it. The race detector tells whether that is safe.
func TestKeptConnectionIsTaken(t *testing.T) {
	parks(t)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := make(chan struct{})
	asked := make(chan string, 1)
	h := echoHandler(nil)
	h.Open = func(*websocket.Conn, *http.Request) { close(taken) }
	srv := &http.Server{Handler: h, ConnState: func(c net.Conn, s http.ConnState) {
		if s == http.StateActive {
			go func() {
				for {
					addr := c.RemoteAddr().String()
					select {
					case <-taken:
						asked <- addr
						return
					default:
					}
				}
			}()
		}
	}}
	served := async(func() error { return srv.Serve(tls.NewListener(websocket.NewListener(tcp), certified())) })
	defer func() { srv.Close(); served() }()
	s := &site{host: inTLS, t: t, connect: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, tcp.Addr().String())
	}}
	peer := s.peer(t)
	if got, want := within(t, inTLS, "the address", asked), peer.Stream.(*tls.Conn).LocalAddr().String(); got != want {
		t.Errorf("the peer is %s, want %s", got, want)
	}
}

// Where there is no TLS the listener changes nothing.
func TestNewListenerWithoutTLS(t *testing.T) {
	parks(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan *websocket.Conn, 1)
	h := echoHandler(nil)
	h.Open = func(c *websocket.Conn, _ *http.Request) { opened <- c }
	srv := &http.Server{Handler: h}
	served := async(func() error { return srv.Serve(websocket.NewListener(ln)) })
	defer func() { srv.Close(); served() }()
	c, _, err := websocket.Dial(bg, "ws://"+ln.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if !within(t, overLoop, "Open", opened).LeavesPoller() {
		t.Error("the connection is not parked")
	}
	if err := c.Write(bg, websocket.Text, []byte("x")); err != nil {
		t.Fatal(err)
	}
	read(t, c, "x")
}

// Nothing is allocated for a message over TLS that the loop reads, but what crypto/tls
// allocates itself: twice at each end, for reading.
func TestNoAllocationsInTheLoopOverTLS(t *testing.T) {
	parks(t)
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s := inTLS.run(t, echoHandler(nil))
	peer := s.peer(t)
	for _, n := range []int{32, 1 << 10} { // a record each
		frame := peer.frame(true, wire.OpBinary, message(n))
		reply := make([]byte, len(frame)-4)
		exchange := func() {
			peer.send(frame)
			if _, err := io.ReadFull(peer, reply); err != nil {
				t.Fatal(err)
			}
		}
		for range 100 {
			exchange()
		}
		const messages, most = 1000, 4.05
		var got float64
		for range 3 { // see TestNoAllocationsInTheLoop
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range messages {
				exchange()
			}
			runtime.ReadMemStats(&after)
			if got = float64(after.Mallocs-before.Mallocs) / messages; got <= most {
				break
			}
		}
		if got > most {
			t.Errorf("%d bytes: %.3f allocations a message", n, got)
		}
	}
}

// An example of [websocket.NewListener], for a server whose Handler has many clients
// over TLS.
func ExampleNewListener() {
	server := &http.Server{
		Handler:           new(websocket.Handler),
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    16 << 10,
	}
	l, err := net.Listen("tcp", "127.0.0.1:8443")
	if err != nil {
		return // the port is taken
	}
	server.ServeTLS(websocket.NewListener(l), "cert.pem", "key.pem")
}
