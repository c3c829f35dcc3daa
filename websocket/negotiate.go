package websocket

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/duplexgo/duplex/websocket/internal/handshake"
	"github.com/duplexgo/duplex/websocket/wire"
)

const rsvBits = wire.Rsv1 | wire.Rsv2 | wire.Rsv3

// checkExtensions finds what the programmer got wrong.
func checkExtensions(list []Extension) error {
	if len(list) > maxExtensions {
		return fmt.Errorf("Options.Extensions: at most %d", maxExtensions)
	}
	for i, e := range list {
		if e == nil {
			return errors.New("Options.Extensions: one is nil")
		}
		name := e.Name()
		if !handshake.IsToken(name) {
			return fmt.Errorf("Options.Extensions: the name %q is not a token", name)
		}
		for _, other := range list[:i] {
			if handshake.EqualFold(name, other.Name()) {
				return fmt.Errorf("Options.Extensions: %s is there twice", name)
			}
		}
		if e, ok := e.(interface{ check() error }); ok {
			if err := e.check(); err != nil {
				return fmt.Errorf("Options.Extensions: %s: %w", name, err)
			}
		}
	}
	return nil
}

// accept answers a client's offers, in their order: of each extension the first
// that it accepts. It returns nil for no extension at all. RFC 6455, 9.1.
func acceptExtensions(list []Extension, offers []handshake.Extension) *agreed {
	var a *agreed
	var taken [maxExtensions]bool
	for _, offer := range offers {
		for i, e := range list {
			if taken[i] || !handshake.EqualFold(offer.Name, e.Name()) {
				continue
			}
			answer, with := e.Accept(offer.Params)
			if with == nil {
				continue
			}
			if a == nil {
				a = new(agreed)
			}
			if a.conflicts(with) {
				continue
			}
			taken[i] = true
			a.add(e.Name(), answer, with)
		}
	}
	if a == nil || a.list == nil {
		return nil
	}
	return a
}

// offerExtensions returns what a client offers, as the header has it.
func offerExtensions(list []Extension) string {
	var b []byte
	for _, e := range list {
		for _, params := range e.Offers() {
			b = handshake.AppendExtension(b, handshake.Extension{Name: e.Name(), Params: params})
		}
	}
	return string(b)
}

// confirmExtensions judges a server's answer. It returns nil for no extension at
// all. RFC 6455, 4.1 and 9.1.
func confirmExtensions(list []Extension, h http.Header) (*agreed, error) {
	answers, err := handshake.Extensions(h)
	if err != nil {
		return nil, fmt.Errorf("the server's %w", err)
	}
	if len(answers) == 0 {
		return nil, nil
	}
	a := new(agreed)
	var taken [maxExtensions]bool
	for _, answer := range answers {
		i, err := find(list, answer.Name)
		switch {
		case err != nil:
			return nil, err
		case taken[i]:
			return nil, fmt.Errorf("the server chose the extension %s twice", answer.Name)
		}
		taken[i] = true
		with, err := list[i].Confirm(answer.Params)
		switch {
		case err != nil:
			return nil, fmt.Errorf("the server's answer for the extension %s: %w", answer.Name, err)
		case with == nil || a.conflicts(with):
			return nil, fmt.Errorf("the server chose the extension %s beside another that uses the same RSV bits", answer.Name)
		}
		a.add(list[i].Name(), answer.Params, with)
	}
	return a, nil
}

func find(list []Extension, name string) (int, error) {
	for i, e := range list {
		if handshake.EqualFold(name, e.Name()) {
			if len(e.Offers()) > 0 {
				return i, nil
			}
		}
	}
	return 0, fmt.Errorf("the server chose an extension that was not asked for: %.80q", name)
}

// with returns the settings of a connection that has extensions.
func (s *settings) with(a *agreed) *settings {
	if a == nil {
		return s
	}
	if s.handler != nil && a.shared() != nil {
		return s.handler.settingsWith(a)
	}
	v := *s
	v.agreed = a
	return &v
}

// settingsWith returns the settings that all connections with the same extensions
// share: idle ones have no memory for them. It keeps one for each answer that there
// can be, which are not many for those whose Agreement can be shared.
func (h *Handler) settingsWith(a *agreed) *settings {
	h.mu.Lock()
	defer h.mu.Unlock()
	v, ok := h.extended[a.header]
	if !ok {
		v = new(settings)
		*v = *h.settings
		v.agreed = a
		if h.extended == nil {
			h.extended = make(map[string]*settings)
		}
		h.extended[a.header] = v
	}
	return v
}
