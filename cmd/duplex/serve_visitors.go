package main

import (
	"log/slog"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/duplexgo/duplex/push"
	"github.com/duplexgo/duplex/websocket"
)

// visitors are the settings of serve that hold clients to limits by their address, and
// what a WebSocket may send. Each has its row in docs/operations.md.
type visitors struct {
	perAddress    int
	handshakeRate int
	frameRate     int
	byteRate      size
	allow, deny   prefixes
	proxies       prefixes
	forwarded     string
	countPrivate  bool
	shutdownRate  int
}

func (v *visitors) flags(cmd *cobra.Command) {
	v.byteRate = 4 << 20
	f := cmd.Flags()
	f.IntVar(&v.perAddress, "max-lines-per-address", 1000, "at most `N` clients at once of an address (of IPv6, a /64)")
	f.IntVar(&v.handshakeRate, "handshake-rate", 50, "an address begins at most `N` WebSockets, streams and polls a second, ten times as many at once")
	f.IntVar(&v.frameRate, "frame-rate", 1000, "a WebSocket sends at most `N` messages and pings a second, ten times as many at once")
	f.Var(&v.byteRate, "byte-rate", "a WebSocket sends at most so many bytes a second, ten times as many at once")
	f.Var(&v.allow, "allow", "let in only addresses in `PREFIX`, as in 192.0.2.0/24; may be repeated")
	f.Var(&v.deny, "deny", "let in no address in `PREFIX`; of --allow and --deny the longer prefix decides; may be repeated")
	f.Var(&v.proxies, "trusted-proxies", "`PREFIX` of proxies that tell whom they speak for; may be repeated")
	f.StringVar(&v.forwarded, "forwarded-header", "X-Forwarded-For", "`HEADER` in which trusted proxies tell it: Forwarded, or one that is a list of addresses")
	f.BoolVar(&v.countPrivate, "count-private", false, "hold loopback, link-local and private addresses to the limits of an address, too")
	f.IntVar(&v.shutdownRate, "shutdown-rate", 0, "close at most `N` WebSockets a second when the server ends; 0: all at once")
}

// check returns what is wrong with a setting.
func (v *visitors) check() error {
	for _, n := range []struct {
		flag  string
		value int64
	}{
		{"max-lines-per-address", int64(v.perAddress)}, {"handshake-rate", int64(v.handshakeRate)}, {"frame-rate", int64(v.frameRate)}, {"byte-rate", int64(v.byteRate)},
	} {
		if n.value < 1 {
			return wrongUse("--%s must be at least 1", n.flag)
		}
	}
	if v.shutdownRate < 0 {
		return wrongUse("--shutdown-rate must not be less than zero")
	}
	if !isToken(v.forwarded) {
		return wrongUse("--forwarded-header %q is not the name of a header", v.forwarded)
	}
	return nil
}

// apply sets the limits of a server.
func (v *visitors) apply(srv *push.Server, log *slog.Logger) {
	srv.Limits = &websocket.Limits{
		MaxConnsPerAddr: v.perAddress,
		HandshakeRate:   v.handshakeRate,
		Allow:           v.allow,
		Deny:            v.deny,
		TrustedProxies:  v.proxies,
		ForwardedHeader: v.forwarded,
		CountPrivate:    v.countPrivate,
		Logger:          log,
	}
	srv.ShutdownRate = v.shutdownRate
	srv.WebSocket.MessageRate = v.frameRate
	srv.WebSocket.ByteRate = int(min(int64(v.byteRate), 1<<31-1))
}

// prefixes are the values of a flag that names networks.
type prefixes []netip.Prefix

// Set adds a prefix, or a single address.
func (p *prefixes) Set(text string) error {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		addr, addrErr := netip.ParseAddr(text)
		if addrErr != nil {
			return wrongUse("%q is not a network as 192.0.2.0/24, nor an address", text)
		}
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	*p = append(*p, prefix.Masked())
	return nil
}

func (p *prefixes) String() string {
	text := ""
	for i, prefix := range *p {
		if i > 0 {
			text += ","
		}
		text += prefix.String()
	}
	return text
}

func (*prefixes) Type() string { return "PREFIX" }
