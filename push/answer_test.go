package push

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A GET may have a body, too, and one that does not come must not keep the
// connection: by then its line counts no more.
func TestSlowBodyOfLine(t *testing.T) {
	for _, request := range []string{
		"GET /poll?channel=a&wait=0 HTTP/1.1\r\nHost: server.test\r\nContent-Length: 10",
		"GET /poll?channel=a&wait=0 HTTP/1.1\r\nHost: server.test\r\nTransfer-Encoding: chunked",
	} {
		inMemory(t, new(Server), func(t *testing.T, s *site) {
			conn := s.raw()
			defer conn.Close()
			conn.SetReadDeadline(time.Now().Add(time.Minute))
			io.WriteString(conn, request+"\r\n\r\n1")
			if answer, err := io.ReadAll(conn); err != nil {
				t.Errorf("the connection goes on: %s, %v", answer, err)
			}
		})
	}
}

// A client that takes no answers is cut off, whatever it has asked for.
func TestAnswerNotTaken(t *testing.T) {
	for _, request := range []string{
		"GET /channels/a/presence HTTP/1.1\r\nHost: server.test\r\n\r\n",
		"GET /nowhere HTTP/1.1\r\nHost: server.test\r\n\r\n",
		"GET /channels/a HTTP/1.1\r\nHost: server.test\r\n\r\n",
		"POST /channels/a HTTP/1.1\r\nHost: server.test\r\nContent-Length: 1\r\n\r\na",
	} {
		t.Run(request[:20], func(t *testing.T) {
			inMemory(t, new(Server), func(t *testing.T, s *site) {
				conn := s.raw()
				defer conn.Close()
				conn.SetWriteDeadline(time.Now().Add(time.Hour))
				var err error
				for range 100000 {
					if _, err = io.WriteString(conn, request); err != nil {
						break
					}
				}
				if err == nil || strings.Contains(err.Error(), "timeout") {
					t.Errorf("after an hour: %v", err)
				}
			})
		})
	}
}

func TestSlashOfPaths(t *testing.T) {
	s := new(Server)
	if resp := do(t, s, "GET", "/channels/%2F/presence", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("presence of the channel /: %d", resp.StatusCode)
	}
	if resp := do(t, s, "POST", "/users/%2f/disconnect", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("disconnect of the user /: %d", resp.StatusCode)
	}
	if resp := do(t, s, "POST", "/users/%2E/disconnect", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("disconnect of the user .: %d", resp.StatusCode)
	}
}

func TestBatchGarbageAfter(t *testing.T) {
	for _, after := range []string{"]", "}", "] x", "}}", " ]"} {
		s := new(Server)
		resp := do(t, s, "POST", "/channels", `[{"channel":"a","data":1}]`+after, jsonType)
		wantProblem(t, resp, 400, 100, "array")
	}
}

// What an embedder's predicate does wrong costs no line: net/http survives it, and
// clients choose the channels that it is asked for.
func TestPanicOfPredicate(t *testing.T) {
	s := &Server{Authorize: func(*http.Request, string) (Grant, error) {
		return Grant{User: "ann", Subscribe: func(channel string) bool {
			if channel == "b" {
				panic("no such channel")
			}
			return true
		}}, nil
	}}
	for _, path := range []string{"/poll", "/events"} {
		func() {
			defer func() { recover() }()
			do(t, s, "GET", path+"?channel=a&channel=b", "")
		}()
	}
	if st := s.Stats(); st.Lines[Poll]+st.Lines[SSE]+st.Subscriptions+s.Disconnect("ann") != 0 {
		t.Errorf("there are still %+v", st)
	}
}
