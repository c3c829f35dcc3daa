package wstest

import (
	"context"
	"testing"
)

// A listener that serves for long must not keep connections that are over, nor
// such as never came about.
func TestListenerForgets(t *testing.T) {
	l := NewListener()
	defer l.Close()
	go func() {
		c, _ := l.Accept()
		c.Close()
		c, _ = l.Accept()
		c.(*Stream).Reset()
	}()
	for range 2 {
		c, err := l.DialContext(t.Context(), "tcp", "x")
		if err != nil {
			t.Fatal(err)
		}
		c.Read(make([]byte, 1)) // until the server has closed it
		c.Close()
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	l.DialContext(ended, "tcp", "x")
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.streams) > 0 {
		t.Errorf("%d streams are kept", len(l.streams))
	}
}
