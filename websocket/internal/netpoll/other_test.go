//go:build !linux

package netpoll

import (
	"errors"
	"testing"
)

func TestUnsupported(t *testing.T) {
	if p, err := New[int](); p != nil || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("New: %v, %v", p, err)
	}
	a, b := tcpPair(t)
	if s, err := Take(a); s != nil || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Take: %v, %v", s, err)
	}
	mustWrite(t, a, "still good")
	mustRead(t, b, 10)
}
