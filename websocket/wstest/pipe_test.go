package wstest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wstest"
)

func TestPipe(t *testing.T) {
	for _, kind := range wstest.Kinds {
		t.Run(kind.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := kind.Pipe(nil, nil)
				defer client.CloseNow()
				defer server.CloseNow()
				for from, to := range map[*websocket.Conn]*websocket.Conn{client: server, server: client} {
					if err := from.Write(t.Context(), websocket.Text, []byte("hello")); err != nil {
						t.Fatal(err)
					}
					typ, p, err := to.Read(t.Context())
					if typ != websocket.Text || string(p) != "hello" || err != nil {
						t.Fatalf("Read = %v, %q, %v", typ, p, err)
					}
				}
				read := make(chan error, 1)
				go func() {
					_, _, err := server.Read(t.Context())
					read <- err
				}()
				if err := client.Close(websocket.CloseNormal, "done"); err != nil {
					t.Errorf("Close = %v", err)
				}
				var closed *websocket.CloseError
				if err := <-read; !errors.As(err, &closed) || closed.Code != websocket.CloseNormal || closed.Reason != "done" || closed.Local {
					t.Errorf("the server's Read = %v", err)
				}
			})
		})
	}
}

// Each end gets its own options.
func TestPipeOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := wstest.Pipe(
			&websocket.Options{MaxMessage: 10, PingInterval: -1},
			&websocket.Options{MaxMessage: 20, PingInterval: -1})
		defer client.CloseNow()
		defer server.CloseNow()
		if err := client.Write(t.Context(), websocket.Text, make([]byte, 15)); err != nil {
			t.Fatal(err)
		}
		if _, p, err := server.Read(t.Context()); len(p) != 15 || err != nil {
			t.Errorf("server, limit 20, reads %d bytes, %v; want 15", len(p), err)
		}
		if err := server.Write(t.Context(), websocket.Text, make([]byte, 15)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := client.Read(t.Context()); !errors.Is(err, websocket.ErrMessageTooBig) {
			t.Errorf("client, limit 10: %v, want ErrMessageTooBig", err)
		}
	})
}

// Waiting for a message is durable: a day of fake time passes at once, and pings
// keep the line alive through it.
func TestPipeInFakeTime(t *testing.T) {
	for _, kind := range wstest.Kinds {
		t.Run(kind.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := kind.Pipe(nil, nil)
				defer client.CloseNow()
				defer server.CloseNow()
				go client.Read(t.Context())
				ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
				defer cancel()
				begun := time.Now()
				if _, _, err := server.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Read = %v, want context.DeadlineExceeded", err)
				}
				if got := time.Since(begun); got != 24*time.Hour {
					t.Errorf("after %v", got)
				}
			})
		})
	}
}
