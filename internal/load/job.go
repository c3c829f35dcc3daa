package load

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"time"
)

// A Mode is what the connections of a Job do.
type Mode string

const (
	Echo      Mode = "echo"      // each sends messages, and each message comes back on it
	Idle      Mode = "idle"      // they do nothing
	Broadcast Mode = "broadcast" // one more connection sends messages, and each comes to all of them
)

// A Job is one run. URL, Addr, Conns, Duration and, but for Idle, Payload must be
// set.
type Job struct {
	Mode Mode // default Echo

	URL          *url.URL       // ws or wss
	Addr         netip.AddrPort // where it is: the URL's host is not looked up
	Header       http.Header    // of the request, besides those of the handshake
	Host         string         // of the request; default: the URL's
	Subprotocols []string       // to offer
	Compression  *Compression   // to offer; nil: none
	TLSConfig    *tls.Config    // for wss

	Conns    int      // how many; a Broadcast's sender is one more
	Payload  *Payload // what is sent
	InFlight int      // messages on their way on each connection that sends; default 1
	Rate     float64  // instead of InFlight: messages a second, of all connections together
	Any      bool     // in Echo any one message is taken as the answer to one

	Ramp     time.Duration // in which connections are opened evenly; default: as quickly as it goes
	Warmup   time.Duration // messages go round before they count
	Duration time.Duration // in which they count
	Timeout  time.Duration // for connecting and its handshakes, and for a message; default 10 s

	PID      int            // of the server, if it is a process of this machine whose use of it is wanted
	Threads  int            // of the load; default half the processors, at least 1
	Progress func(Progress) // is called some times a second, if it is set

	goroutines bool // do without epoll; for tests
}

// A Progress is how far a Job is.
type Progress struct {
	Stage    Stage
	Done     float64 // share of the stage, 0 to 1
	Open     int     // connections
	Wanted   int
	Failed   int    // connections that could not be opened, or ended
	Received uint64 // messages, since the beginning
	Elapsed  time.Duration
}

// A Stage is what is being done.
type Stage string

const (
	Opening   Stage = "opening"
	WarmingUp Stage = "warming up"
	Measuring Stage = "measuring"
	Draining  Stage = "waiting for the rest"
)

// complete checks a Job and sets what has a default.
func (j *Job) complete() error {
	if j.Mode == "" {
		j.Mode = Echo
	}
	if j.InFlight == 0 {
		j.InFlight = 1
	}
	if j.Timeout == 0 {
		j.Timeout = 10 * time.Second
	}
	if j.Threads == 0 {
		j.Threads = max(1, runtime.GOMAXPROCS(0)/2)
	}
	if err := j.Compression.check(); err != nil {
		return err
	}
	switch {
	case j.Mode != Echo && j.Mode != Idle && j.Mode != Broadcast:
		return fmt.Errorf("there is no mode %q", j.Mode)
	case j.URL == nil || j.URL.Scheme != "ws" && j.URL.Scheme != "wss":
		return errors.New("the URL is not ws or wss")
	case !j.Addr.IsValid():
		return errors.New("there is no address to connect to")
	case j.Conns < 1 || j.Conns > maxConns:
		return fmt.Errorf("%d connections: there are 1 to %d", j.Conns, maxConns)
	case j.Payload == nil && j.Mode != Idle:
		return errors.New("there is no payload to send")
	case j.InFlight < 1 || j.InFlight > maxInFlight:
		return fmt.Errorf("%d messages in flight: there are 1 to %d", j.InFlight, maxInFlight)
	case j.Rate < 0 || j.Rate > maxRate:
		return fmt.Errorf("%g messages a second: there are at most %g", j.Rate, maxRate)
	case j.Ramp < 0 || j.Warmup < 0 || j.Duration <= 0 || j.Timeout <= 0 || j.Threads < 1:
		return errors.New("ramp and warm-up must not be negative; duration, timeout and threads must be more than zero")
	}
	return nil
}

// The bounds of a Job. A message's stamp has 24 bits for its connection.
const (
	maxConns    = 1<<24 - 2
	maxInFlight = 1 << 20
	maxRate     = 1e8
)

// sender is the id of a broadcast's sender; its messages are everybody's.
const sender = 1<<24 - 1

// interval is the time between two messages at the rate, in nanoseconds.
func (j *Job) interval() float64 { return 1e9 / j.Rate }
