package load

import (
	"bytes"
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/flate"
)

// A packing is a Payload as it is sent compressed. A load that compressed each message
// would be slower than what it measures; but what it sends is known before, and with it
// what the receiver's window will hold. So each message is compressed at most twice for
// all connections: with nothing before it, and behind those that come before it
// in turn. What goes out is what a sender with a window of its own would send.
//
// The stamp of a generated message, which is never the same, goes in a stored block
// before the rest, and nothing refers to it. RFC 1951, 3.2.4.
type packing struct {
	payload  *Payload
	bits     int
	takeover bool
	forms    []forms
}

// forms are those of a message, made when they are first needed.
type forms struct {
	first  atomic.Pointer[[]byte]
	behind atomic.Pointer[[]byte]
	after  atomic.Uint64 // how many messages behind has before it, and one; 0: not known yet
}

// packings are those of a run, by what was agreed on.
type packings struct {
	mu  sync.Mutex
	all map[packingKey]*packing
}

type packingKey struct {
	bits     int
	takeover bool
}

func (ps *packings) get(p *Payload, a *agreement) *packing {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	key := packingKey{a.send, a.sendTakeover}
	k := ps.all[key]
	if k == nil {
		k = &packing{payload: p, bits: a.send, takeover: a.sendTakeover, forms: make([]forms, max(1, len(p.given)))}
		if ps.all == nil {
			ps.all = make(map[packingKey]*packing)
		}
		ps.all[key] = k
	}
	return k
}

// storedHeader is the size of a stored block's. RFC 1951, 3.2.4.
const storedHeader = 5

// head is how much is sent before the compressed rest: the stamp's block.
func (k *packing) head() int {
	if n := k.stamped(); n > 0 {
		return storedHeader + n
	}
	return 0
}

// stamped is how much of each message is its stamp.
func (k *packing) stamped() int {
	if k.payload.given != nil {
		return 0
	}
	return min(stampSize, len(k.payload.fill))
}

func (k *packing) size(id uint32, number uint64) int { return k.head() + len(k.rest(id, number)) }

// put copies a message as it is sent from an offset on into b and returns how much.
func (k *packing) put(b []byte, id uint32, number uint64, offset int) int {
	n, head := 0, k.head()
	if offset < head {
		var room [storedHeader + stampSize]byte
		var stamp [stampSize]byte
		size := copy(room[storedHeader:], k.payload.stamp(&stamp, id, number))
		binary.LittleEndian.PutUint16(room[1:], uint16(size))
		binary.LittleEndian.PutUint16(room[3:], ^uint16(size))
		n = copy(b, room[offset:head])
		offset += n
	}
	if offset >= head {
		n += copy(b[n:], k.rest(id, number)[offset-head:])
	}
	return n
}

// rest returns what is sent behind the stamp.
func (k *packing) rest(id uint32, number uint64) []byte {
	i := 0
	if n := uint64(len(k.payload.given)); n > 0 {
		i = int((number + uint64(id)) % n)
	}
	f := &k.forms[i]
	if k.takeover && number > 0 {
		if f.after.Load() == 0 {
			k.packBehind(i)
		}
		if number >= f.after.Load()-1 {
			return *f.behind.Load()
		}
	}
	b := f.first.Load()
	if b == nil {
		b = k.pack(i, nil)
		f.first.Store(b)
	}
	return *b
}

// plain is a message with zeros for its stamp, which no generated message has.
func (k *packing) plain(i int) []byte {
	if k.payload.given != nil {
		return k.payload.given[i]
	}
	p := bytes.Clone(k.payload.fill)
	clear(p[:k.stamped()])
	return p
}

// packBehind makes the form of a message with others before it.
func (k *packing) packBehind(i int) {
	size := 1 << k.bits
	window := make([]byte, size)
	left, before := size, 0
	for j := i; left > 0 && before < size; before++ { // empty messages fill no window
		j = (j + len(k.forms) - 1) % len(k.forms)
		p := k.plain(j)
		n := min(left, len(p))
		left -= copy(window[left-n:], p[len(p)-n:])
	}
	f := &k.forms[i]
	f.behind.Store(k.pack(i, window[left:]))
	f.after.Store(uint64(before) + 1)
}

// packer are compressors, by the bits of their windows. They are a megabyte each.
var packers [maxBits + 1]sync.Pool

// pack compresses a message, but for its stamp, behind a window. RFC 7692, 7.2.1.
func (k *packing) pack(i int, window []byte) *[]byte {
	p := k.plain(i)
	window = append(bytes.Clone(window), p[:k.stamped()]...)
	window = window[max(0, len(window)-1<<k.bits):]
	out := new(bytes.Buffer)
	w, ok := packers[k.bits].Get().(*flate.Writer)
	if !ok {
		var err error
		if w, err = flate.NewWriterWindow(out, 1<<k.bits); err != nil {
			panic(err) // bits are 8 to 15
		}
	}
	w.ResetDict(out, window)
	// A Buffer takes everything.
	w.Write(p[k.stamped():])
	w.Flush()
	w.ResetDict(out, nil)
	packers[k.bits].Put(w)
	b := bytes.Clone(out.Bytes()[:out.Len()-len(flushed)])
	return &b
}

// flushed is how a flush ends, which is not sent. RFC 7692, 7.2.1.
const flushed = "\x00\x00\xff\xff"
