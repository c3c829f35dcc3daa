package websocket

import (
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Limits keep a server from being overrun by scripts that open connections. Name
// one in [AcceptOptions.Limits], the same one in all that are to be counted
// together. The zero value limits nothing; use it by pointer, and do not change its
// fields once it is in use.
//
// A refused request gets a short text, and Retry-After where it is worth coming
// back; its TCP connection is closed:
//
//	403  Allow and Deny
//	429  MaxConnsPerAddr, HandshakeRate
//	503  MaxConns
//
// An address is an IPv4 address or a /64 of IPv6, which one client can have all of.
// Loopback, link-local and private addresses are not counted unless CountPrivate is
// set: they are mostly those of proxies, behind which all clients would share one.
//
// Until a request is complete it is http.Server that waits for it: set
// ReadHeaderTimeout.
type Limits struct {
	MaxConns        int // connections in all; 0: no limit
	MaxConnsPerAddr int // connections of an address; 0: no limit

	// HandshakeRate is how many opening handshakes a second an address may begin on
	// the average, with ten seconds' worth at once; 0: no limit.
	HandshakeRate int

	// Allow and Deny say who may connect. Of the prefixes that an address is in the
	// longest decides, Deny where both have it. One that is in none is let in,
	// unless Allow has prefixes. Where the address is not known (a Unix socket), it is
	// in none.
	Allow, Deny []netip.Prefix

	// TrustedProxies are the proxies whose word is taken for where a request comes
	// from. ForwardedHeader is then read from right to left, and the first address
	// that is not a trusted proxy's is the client's. A peer without an IP address (a
	// Unix socket) is trusted if there is any trusted proxy.
	TrustedProxies []netip.Prefix

	// ForwardedHeader is the field that the trusted proxies write: "Forwarded" (RFC
	// 7239), or one that is a list of addresses. Only one is read, since proxies pass
	// the others on as a client has invented them. Default X-Forwarded-For.
	ForwardedHeader string

	// CountPrivate counts loopback, link-local and private addresses, too.
	CountPrivate bool

	// Logger gets a warning, not more often than every ten seconds, when somebody is
	// refused, and one when TrustedProxies seems to be missing; nil: slog.Default().
	Logger *slog.Logger

	counts
}

// counts are what Limits have beside their settings.
type counts struct {
	mu      sync.Mutex
	conns   int
	addrs   map[netip.Addr]*visitor
	sweepAt int           // of so many addrs those that have gone are forgotten
	refused int           // since the last line in the log
	logged  time.Duration // when that was; 0: never
	warned  sync.Once
}

// A visitor is what is known of an address.
type visitor struct {
	conns  int
	bucket bucket
}

// burstSeconds is how many seconds' worth of a rate may come at once.
const burstSeconds = 10

// logEvery is the shortest time between two warnings of refusals.
const logEvery = 10 * time.Second

// connsRetryAfter is the Retry-After, in seconds, where it is not known when there
// will be room.
const connsRetryAfter = 10

// A seat is a connection that is counted.
type seat struct {
	limits *Limits
	addr   netip.Addr // by which it is counted, the zero Addr if by none
	left   atomic.Bool
}

// admit counts a request in that asks for a connection. The error is a
// *HandshakeError.
func (l *Limits) admit(r *http.Request) (*seat, error) {
	if l == nil {
		return nil, nil
	}
	addr := l.ClientAddr(r)
	l.warn(r, addr)
	if !l.allows(addr) {
		return nil, l.refuse(addr, &HandshakeError{
			Status: http.StatusForbidden,
			Msg:    "connections from this address are not allowed",
			header: http.Header{"Connection": {"close"}},
		})
	}
	s := &seat{limits: l, addr: l.counted(addr)}
	if err := l.count(s); err != nil {
		return nil, l.refuse(addr, err)
	}
	return s, nil
}

// Enter counts a request in as [Accept] does, for a handler that holds on to its
// clients in another way: long polling, say. Call leave when it ends. The error is a
// [*HandshakeError], with the status to answer with and, in RetryAfter, when to come
// back. A nil *Limits lets all in.
func (l *Limits) Enter(r *http.Request) (leave func(), err error) {
	s, err := l.admit(r)
	return s.leave, err
}

// Allows reports whether Allow and Deny let an address in, which may be of IPv4
// mapped to IPv6, and have a zone: a net.TCPAddr has it so. A nil *Limits lets all
// in.
func (l *Limits) Allows(addr netip.Addr) bool {
	return l == nil || l.allows(addr.Unmap().WithZone(""))
}

// count counts a connection in, or says which limit it passes.
func (l *Limits) count(s *seat) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.MaxConns > 0 && l.conns >= l.MaxConns {
		return refusalLater(http.StatusServiceUnavailable, connsRetryAfter, "the server has as many connections as it takes")
	}
	if s.addr.IsValid() {
		v := l.visitor(s.addr)
		if wait := v.bucket.take(l.HandshakeRate, 1); wait > 0 {
			return refusalLater(http.StatusTooManyRequests, int(math.Ceil(wait.Seconds())), "too many handshakes from this address")
		}
		if l.MaxConnsPerAddr > 0 && v.conns >= l.MaxConnsPerAddr {
			return refusalLater(http.StatusTooManyRequests, connsRetryAfter, "too many connections from this address")
		}
		v.conns++
	}
	l.conns++
	return nil
}

// visitor returns what is known of an address. The mutex is held.
func (l *Limits) visitor(addr netip.Addr) *visitor {
	v := l.addrs[addr]
	if v != nil {
		return v
	}
	if l.addrs == nil {
		l.addrs = make(map[netip.Addr]*visitor)
	}
	if len(l.addrs) >= max(l.sweepAt, 1024) {
		// Of a flood of addresses those are remembered that came within the last
		// burstSeconds.
		maps.DeleteFunc(l.addrs, func(_ netip.Addr, v *visitor) bool { return v.conns == 0 && v.bucket.full(l.HandshakeRate) })
		l.sweepAt = 2 * len(l.addrs)
	}
	v = new(visitor)
	l.addrs[addr] = v
	return v
}

// leave counts a connection out, once.
func (s *seat) leave() {
	if s == nil || s.left.Swap(true) {
		return
	}
	l := s.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns--
	if v := l.addrs[s.addr]; v != nil {
		v.conns--
		if v.conns == 0 && v.bucket.full(l.HandshakeRate) {
			delete(l.addrs, s.addr)
		}
	}
}

// sit makes the connection the one that the seat is for.
func (c *Conn) sit(s *seat) {
	if s == nil {
		return
	}
	c.out.mu.Lock()
	c.out.rare().seat = s
	c.out.mu.Unlock()
	if c.ending.ended() {
		s.leave()
	}
}

// stand leaves the seat.
func (c *Conn) stand() {
	c.out.mu.Lock()
	var s *seat
	if c.out.aside != nil {
		s = c.out.aside.seat
	}
	c.out.mu.Unlock()
	s.leave()
}

// counted returns what an address is counted as, the zero Addr where it is not.
func (l *Limits) counted(addr netip.Addr) netip.Addr {
	switch {
	case !addr.IsValid(), isPrivate(addr) && !l.CountPrivate:
		return netip.Addr{}
	case addr.Is6():
		p, _ := addr.Prefix(64)
		return p.Addr()
	}
	return addr
}

func isPrivate(addr netip.Addr) bool {
	return addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast()
}

// allows reports whether Allow and Deny let an address in.
func (l *Limits) allows(addr netip.Addr) bool {
	if len(l.Allow) == 0 && len(l.Deny) == 0 {
		return true
	}
	allow, deny := longest(l.Allow, addr), longest(l.Deny, addr)
	if allow < 0 && deny < 0 {
		return len(l.Allow) == 0
	}
	return allow > deny
}

// longest returns the length of the longest prefix that an address is in, -1 for
// none.
func longest(prefixes []netip.Prefix, addr netip.Addr) int {
	n := -1
	for _, p := range prefixes {
		if contains(p, addr) {
			n = max(n, p.Bits())
		}
	}
	return n
}

// contains is Prefix.Contains, also where the prefix is of IPv4 mapped to IPv6.
func contains(p netip.Prefix, addr netip.Addr) bool {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Contains(addr)
}

// refuse logs now and then that somebody is refused.
func (l *Limits) refuse(addr netip.Addr, err error) error {
	l.mu.Lock()
	l.refused++
	n, now := l.refused, clock()
	due := l.logged == 0 || now-l.logged >= logEvery
	if due {
		l.refused, l.logged = 0, now
	}
	l.mu.Unlock()
	if due {
		l.log().Warn("websocket: connections were refused", "last", addr, "error", err, "count", n)
	}
	return err
}

// warn says once that requests seem to come by a proxy that is not trusted.
func (l *Limits) warn(r *http.Request, addr netip.Addr) {
	if len(l.TrustedProxies) > 0 || !isPrivate(addr) || r.Header.Get("X-Forwarded-For") == "" && r.Header.Get("Forwarded") == "" {
		return
	}
	l.warned.Do(func() {
		l.log().Warn("websocket: requests come by a proxy that is not among the trusted proxies, so their clients are not counted by address", "proxy", addr)
	})
}

func (l *Limits) log() *slog.Logger {
	if l.Logger != nil {
		return l.Logger
	}
	return slog.Default()
}

// refusalLater is a refusal with Retry-After.
func refusalLater(status, seconds int, text string) error {
	return &HandshakeError{
		Status: status,
		Msg:    text + ": try again in " + strconv.Itoa(seconds) + " s",
		header: http.Header{"Retry-After": {strconv.Itoa(seconds)}, "Connection": {"close"}},
	}
}

// trusts reports whether an address is a trusted proxy's.
func (l *Limits) trusts(addr netip.Addr) bool {
	if !addr.IsValid() {
		return len(l.TrustedProxies) > 0
	}
	return slices.ContainsFunc(l.TrustedProxies, func(p netip.Prefix) bool { return contains(p, addr) })
}
