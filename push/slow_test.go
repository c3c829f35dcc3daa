package push

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/duplexgo/duplex/websocket/wstest"
)

// raw opens a connection for requests written by hand.
func (s *site) raw() *wstest.Stream {
	s.t.Helper()
	conn, err := s.web.Listener.DialContext(s.t.Context(), "tcp", "server.test:80")
	if err != nil {
		s.t.Fatal(err)
	}
	return conn.(*wstest.Stream)
}

func TestSlowBody(t *testing.T) {
	for set, limit := range map[time.Duration]time.Duration{0: 30 * time.Second, time.Second: time.Second} {
		t.Run(limit.String(), func(t *testing.T) {
			inMemory(t, &Server{BodyTimeout: set}, func(t *testing.T, s *site) {
				conn := s.raw()
				defer conn.Close()
				begin := time.Now()
				io.WriteString(conn, "POST /channels/a HTTP/1.1\r\nHost: server.test\r\nContent-Length: 10\r\n\r\nabc")
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				wantProblem(t, resp, 408, 0, "too long to come")
				if d := time.Since(begin); d != limit {
					t.Errorf("refused after %v, want %v", d, limit)
				}
			})
		})
	}
}

// What a refusal leaves unread does not keep the connection for longer, whoever
// refuses: net/http waits for it before it sends the answer.
func TestSlowRefusedBody(t *testing.T) {
	for request, status := range map[string]string{
		"POST /channels/a HTTP/1.1\r\nHost: 127.0.0.1":                                "413",
		"POST /channels/a HTTP/1.1\r\nHost: foreign.test":                             "421",
		"POST /channels/a HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://foreign.test": "403",
		"POST /connect HTTP/1.1\r\nHost: 127.0.0.1":                                   "405",
		"GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1":                                    "404",
		"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1":                                    "200",
	} {
		t.Run(status, func(t *testing.T) {
			inMemory(t, &Server{MaxMessage: 5, LiteralHosts: true}, func(t *testing.T, s *site) {
				conn := s.raw()
				defer conn.Close()
				conn.SetReadDeadline(time.Now().Add(time.Minute))
				io.WriteString(conn, request+"\r\nContent-Length: 10\r\n\r\nabc")
				answer, err := io.ReadAll(conn)
				if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 "+status) {
					t.Errorf("answer %s, %v", answer, err)
				}
			})
		})
	}
}

// A body in time leaves no limit on what comes after it on the connection.
func TestConnectionGoesOn(t *testing.T) {
	inMemory(t, new(Server), func(t *testing.T, s *site) {
		conn := s.raw()
		defer conn.Close()
		answers := bufio.NewReader(conn)
		for i := range 3 {
			for _, request := range []string{
				"POST /channels/a HTTP/1.1\r\nHost: server.test\r\nContent-Length: 1\r\n\r\nx",
				"GET /channels/a HTTP/1.1\r\nHost: server.test\r\n\r\n",
			} {
				io.WriteString(conn, request)
				resp, err := http.ReadResponse(answers, nil)
				if err != nil {
					t.Fatalf("round %d: %v", i, err)
				}
				body, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != 200 || !strings.HasSuffix(string(body), "}\n") {
					t.Fatalf("round %d: status %d, %s, %v", i, resp.StatusCode, body, err)
				}
			}
			time.Sleep(time.Minute)
		}
	})
}

// The time for the body ends with the body, however long storing takes.
func TestSlowBroker(t *testing.T) {
	server := new(Server)
	server.core.broker = slow{newTestMemory(t, memoryLimits{})}
	inMemory(t, server, func(t *testing.T, s *site) { s.post("a", "1") })
}

// slow is a broker that takes its time, unless nobody waits any more.
type slow struct{ broker }

func (b slow) publish(ctx context.Context, channel string, data json.RawMessage) (Position, error) {
	select {
	case <-ctx.Done():
		return Position{}, ctx.Err()
	case <-time.After(time.Hour):
		return b.broker.publish(ctx, channel, data)
	}
}

// A slow client of history does not keep what the log has dropped: its answer ends
// early, and says where.
func TestSlowHistoryReader(t *testing.T) {
	inMemory(t, &Server{HistoryMessages: 100}, func(t *testing.T, s *site) {
		post := func(from, to int) {
			for i := from; i < to; i++ {
				s.post("x", fmt.Sprintf(`"%010000d"`, i))
			}
		}
		post(0, 100)
		conn := s.raw()
		defer conn.Close()
		conn.Peer().SetBuffer(5000)
		io.WriteString(conn, "GET /channels/x HTTP/1.1\r\nHost: server.test\r\n\r\n")
		time.Sleep(time.Second) // the first message is on its way
		post(100, 200)
		conn.Peer().SetBuffer(1 << 20)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Messages []struct{ Data, Position string }
			Position string
		}
		if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
			t.Fatal(err)
		}
		n := len(got.Messages)
		if n != someHistory || got.Position != got.Messages[n-1].Position {
			t.Errorf("got %d messages and position %s, want %d and the last one's", n, got.Position, someHistory)
		}
		for i, m := range got.Messages {
			if m.Data != fmt.Sprintf("%010000d", i) {
				t.Errorf("message %d is %.20q", i, m.Data)
			}
		}
	})
}

// A client that asks for much history and takes none of it is cut off.
func TestStuckHistoryReader(t *testing.T) {
	inMemory(t, new(Server), func(t *testing.T, s *site) {
		for i := range 100 {
			s.post("x", fmt.Sprintf(`"%010000d"`, i))
		}
		conn := s.raw()
		defer conn.Close()
		conn.Peer().SetBuffer(0)
		begin := time.Now()
		io.WriteString(conn, "GET /channels/x HTTP/1.1\r\nHost: server.test\r\n\r\n")
		_, err := conn.Read(make([]byte, 1))
		var late net.Error
		if err == nil || errors.As(err, &late) && late.Timeout() {
			t.Errorf("the connection goes on: %v", err)
		}
		if d := time.Since(begin); d < 10*time.Second || d > 11*time.Second {
			t.Errorf("cut off after %v, want 10 s", d)
		}
	})
}
