package server

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"syscall"
)

var errNotJSON = errors.New("the body is not JSON")

// A floor is the least that a push server in Go can do: net/http for handshakes and
// publications, one encoding of a message, which is its frame, and one write of it to
// each socket, in a row. The sockets are with a rawLoop, which only sees them end.
// Another thread does the writes, so that what is published meanwhile goes out in one.
// A channel keeps its last frames, and who comes back gets those missed in one write,
// with the answer of the handshake. It reads nothing that clients send: channel and
// position are in the path.
type floor struct {
	loop     rawLoop
	news     sync.Cond // on the loop's lock
	channels map[string]*floorChannel
	waiting  []*floorChannel // have frames that are not sent
}

type floorChannel struct {
	members []*rawConn
	frames  [][]byte // the last ones
	last    uint64   // the number of the newest
	sent    uint64   // the number of the newest that members have
}

// floorHistory is how many frames a channel keeps.
const floorHistory = 100

func serveFloor(ln net.Listener) error {
	epfd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	f := &floor{loop: rawLoop{epfd: epfd, buf: make([]byte, 4<<10)}, channels: make(map[string]*floorChannel)}
	f.news.L = &f.loop.mu
	go f.loop.run()
	go f.send()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /connect", f.connect)
	mux.HandleFunc("POST /channels/{channel}", f.publish)
	return serveHTTP(ln, mux)
}

// channel returns that of a name. The lock is held.
func (f *floor) channel(name string) *floorChannel {
	c := f.channels[name]
	if c == nil {
		c = new(floorChannel)
		f.channels[name] = c
	}
	return c
}

// connect answers a handshake, says where the subscription begins, and what has been
// missed since.
func (f *floor) connect(w http.ResponseWriter, r *http.Request) {
	answer := rawAnswer(r)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close() // the loop has a descriptor of its own
	f.loop.mu.Lock()
	defer f.loop.mu.Unlock()
	c := f.channel(r.FormValue("channel"))
	answer = append(answer, frame(fmt.Appendf(nil, `{"position":"%d"}`, c.sent))...)
	if since, err := strconv.ParseUint(r.FormValue("since"), 10, 64); err == nil && since < c.sent {
		answer = c.appendFrames(answer, since, c.sent)
	}
	rc := new(rawConn)
	rc.gone = func() { c.leave(rc) }
	if f.loop.add(conn, rc, answer) {
		c.members = append(c.members, rc)
	}
}

func (c *floorChannel) leave(rc *rawConn) {
	if i := slices.Index(c.members, rc); i >= 0 {
		last := len(c.members) - 1
		c.members[i], c.members[last] = c.members[last], nil
		c.members = c.members[:last]
	}
}

// appendFrames appends the frames after a number up to another, as far as they are kept.
func (c *floorChannel) appendFrames(p []byte, after, to uint64) []byte {
	kept := c.last - uint64(len(c.frames))
	for n := max(after, kept); n < to; n++ {
		p = append(p, c.frames[n-kept]...)
	}
	return p
}

// send writes what is new, channel by channel. It gives the lock away between members,
// or nothing could be published meanwhile.
func (f *floor) send() {
	var p []byte
	f.loop.mu.Lock()
	for {
		for len(f.waiting) == 0 {
			f.news.Wait()
		}
		waiting := f.waiting
		f.waiting = nil
		for _, c := range waiting {
			p = c.appendFrames(p[:0], c.sent, c.last)
			c.sent = c.last
			members := slices.Clone(c.members)
			for i, to := range members {
				if i%16 == 15 {
					f.loop.mu.Unlock()
					f.loop.mu.Lock()
				}
				if f.loop.conns[to.fd] == to {
					f.loop.write(to, p)
				}
			}
		}
	}
}

func (f *floor) publish(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 60<<10))
	if err == nil && !json.Valid(data) {
		err = errNotJSON
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	name := r.PathValue("channel")
	f.loop.mu.Lock()
	c := f.channel(name)
	c.last++
	number := c.last
	p := frame(fmt.Appendf(nil, `{"channel":%q,"position":"%d","data":%s}`, name, number, data))
	if len(c.frames) == floorHistory {
		c.frames = append(c.frames[:0], c.frames[1:]...)
	}
	c.frames = append(c.frames, p)
	if c.sent == c.last-1 {
		f.waiting = append(f.waiting, c)
		f.news.Signal()
	}
	f.loop.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, "{\"position\":\"%d\"}\n", number)
}

// frame returns that of a text. RFC 6455, 5.2.
func frame(text []byte) []byte {
	if len(text) < 126 {
		return append([]byte{0x81, byte(len(text))}, text...)
	}
	return append(binary.BigEndian.AppendUint16([]byte{0x81, 126}, uint16(len(text))), text...)
}
