package websocket

import (
	"fmt"
	"math"

	"github.com/duplexgo/duplex/websocket/wire"
)

// rates are what a connection has received of late.
type rates struct{ messages, bytes bucket }

// measure holds a frame to MessageRate and ByteRate, of which there is one at least.
// Only the one who reads calls it.
func (c *Conn) measure(h wire.Header) error {
	messages, bytes := c.settings.MessageRate, c.settings.ByteRate
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	rare := c.out.rare()
	if rare.rates == nil {
		rare.rates = new(rates)
	}
	size := int(min(h.Length, math.MaxInt/2)) + h.Size()
	switch {
	case h.Opcode != wire.OpContinuation && rare.rates.messages.take(messages, 1) > 0:
		return &wire.Error{Code: ClosePolicyViolation, Msg: fmt.Sprintf("more than %d messages a second", messages)}
	case rare.rates.bytes.take(bytes, size) > 0:
		return &wire.Error{Code: ClosePolicyViolation, Msg: fmt.Sprintf("more than %d bytes a second", bytes)}
	}
	return nil
}
