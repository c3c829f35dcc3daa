package push

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/push/protocol"
	"github.com/duplexgo/duplex/websocket"
)

func channelNames(stats []ChannelStat) string {
	var all []string
	for _, st := range stats {
		all = append(all, st.Channel)
	}
	return strings.Join(all, " ")
}

// The channels used last come first, read or not; with a prefix they come by name.
func TestChannelStats(t *testing.T) {
	inMemory(t, new(Server), func(t *testing.T, s *site) {
		for _, channel := range []string{"a", "b", "c", "d"} {
			s.post(channel, `"first"`)
			time.Sleep(time.Second)
		}
		c := s.join("ann", "b") // a use, too
		defer c.CloseNow()
		time.Sleep(time.Second)
		s.post("a", `"second"`)
		if got := channelNames(s.server.ChannelStats("", 10)); got != "a b d c" {
			t.Errorf("all: %s", got)
		}
		if got := channelNames(s.server.ChannelStats("", 3)); got != "a b d" {
			t.Errorf("three: %s", got)
		}
		if got := channelNames(s.server.ChannelStats("c", 3)); got != "c" {
			t.Errorf("by prefix: %s", got)
		}
		if got := s.server.ChannelStats("zz", 3); got == nil || len(got) != 0 {
			t.Errorf("none: %v", got)
		}
		all := s.server.ChannelStats("", 2)
		if st := all[0]; st.Messages != 2 || st.Subscribers != 0 || !strings.Contains(string(st.Last), `"data":"second"`) {
			t.Errorf("%+v, last %s", st, st.Last)
		}
		if st := all[1]; st.Subscribers != 1 {
			t.Errorf("%+v", st)
		}
		time.Sleep(2 * time.Hour) // b is read, and so known; its message is too old
		for _, st := range s.server.ChannelStats("b", 1) {
			if st.Messages != 0 || st.Last != nil {
				t.Errorf("after its time: %+v, last %s", st, st.Last)
			}
		}
	})
}

// Who takes nothing falls behind, and who reads on is not behind any more.
func TestLag(t *testing.T) {
	inMemory(t, &Server{HistoryMessages: 50}, func(t *testing.T, s *site) {
		good := s.join("ann", "x")
		defer good.CloseNow()
		slow := s.join("ben", "x")
		defer slow.CloseNow()
		want := func(subscriptions, messages int) {
			t.Helper()
			synctest.Wait()
			if got := s.server.Lag(); got != (Lag{subscriptions, messages}) {
				t.Errorf("lag %+v, want %d subscriptions, %d messages", got, subscriptions, messages)
			}
		}
		want(0, 0)
		line := slow.stream.Peer()
		line.SetBuffer(0)
		s.post("x", "0") // a worker is in the middle of sending this
		for i := range 10 {
			synctest.Wait()
			s.post("x", fmt.Sprint(i+1))
		}
		want(1, 10)
		for range 100 { // no more than is kept
			s.post("x", `"more"`)
		}
		want(1, 50)
		line.SetBuffer(1 << 20)
		want(0, 0)
	})
}

// At Admin nobody needs a key, and no name leads there but those of this machine. Pages
// that may use the server may not be administrators by that.
func TestAdmin(t *testing.T) {
	const page = "http://page.test"
	srv := guarded()
	srv.Origins = []string{page}
	defer srv.Shutdown(t.Context())
	srv.ConsoleAPI = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "inside") })
	admin := srv.Admin()
	for _, test := range []struct {
		handler           http.Handler
		path, host, token string
		origin            string
		status            int
	}{
		{srv, "/console/api/x", "127.0.0.1", "", "", 401},
		{srv, "/console/api/x", "127.0.0.1", "ann", "", 403},
		{srv, "/console/api/x", "127.0.0.1", "admin", "", 200},
		{admin, "/console/api/x", "127.0.0.1", "", "", 200},
		{admin, "/channels", "[::1]:80", "", "", 200},
		{admin, "/channels/x", "localhost", "", "", 200},
		{admin, "/console/api/x", "127.0.0.1", "bad", "", 200},
		{admin, "/console/api/x", "foreign.test", "", "", 421},
		{admin, "/console/api/x", "127.0.0.1", "", "http://foreign.test", 403},
		{srv, "/console/api/x", "127.0.0.1", "admin", page, 200},
		{admin, "/console/api/x", "127.0.0.1", "", page, 403},
		{admin, "/console/api/x", "127.0.0.1", "admin", page, 403},
		{admin, "/connect", "127.0.0.1", "", page, 403},
		{admin, "/healthz", "127.0.0.1", "", page, 403},
		{admin, "/console/api/x", "127.0.0.1:81", "", "http://127.0.0.1:81", 200},
	} {
		r := httptest.NewRequest("GET", test.path, nil)
		r.Host = test.host
		if test.token != "" {
			r.Header.Set("Authorization", "Bearer "+test.token)
		}
		if test.origin != "" {
			r.Header.Set("Origin", test.origin)
		}
		w := httptest.NewRecorder()
		test.handler.ServeHTTP(w, r)
		if w.Code != test.status {
			t.Errorf("%+v: status %d", test, w.Code)
		}
		if reads := w.Header().Get("Access-Control-Allow-Origin") != ""; reads != (test.origin == page && test.status == 200) {
			t.Errorf("%+v: the page may read the answer: %t", test, reads)
		}
	}
}

// A line that came by Admin stays an administrator's, whatever token its page shows.
func TestAdminLine(t *testing.T) {
	srv := guarded()
	web := httptest.NewServer(srv.Admin())
	defer web.Close()
	defer srv.Shutdown(t.Context())
	c, _, err := websocket.Dial(t.Context(), strings.Replace(web.URL, "http", "ws", 1)+"/connect", &websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	tab := &tab{Conn: c, t: t}
	tab.send(`{"id":1,"command":"auth","token":""} {"id":2,"command":"auth","token":"bad"} {"id":3,"command":"publish","channel":"x","data":1}`)
	tab.want("1, 2, 3")
}
