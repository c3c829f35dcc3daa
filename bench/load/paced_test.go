package load

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// answerClose echoes a message, and a close frame, which ends the connection.
func answerClose(p *peer, number int, payload, raw []byte) error {
	if raw[0] == 0x88 {
		return errors.Join(p.send(0x88, payload), io.EOF)
	}
	return echo(p, number, payload, raw)
}

func pacedJob(addr string) Job {
	j := echoJob(addr)
	j.Kind, j.Rate, j.Duration, j.Patience = Paced, 500, 100*time.Millisecond, 500*time.Millisecond
	return j
}

func TestPaced(t *testing.T) {
	addr := serve(t, func(p *peer) { p.message = answerClose })
	r, err := Run(pacedJob(addr))
	if err != nil {
		t.Fatal(err)
	}
	// 50 are due; one that is on its way at an end may count or not.
	if r.Messages < 40 || r.Messages > 60 || r.Server <= 0 || r.Wall < 90*time.Millisecond || r.P99 <= 0 || r.P99 < r.P50 || r.Max < r.P99 {
		t.Errorf("%+v", r)
	}
}

// A message that is late is as late as it is, and those that were due meanwhile, too.
func TestPacedSeesAStall(t *testing.T) {
	const stall = 50 * time.Millisecond
	var stalled atomic.Bool
	addr := serve(t, func(p *peer) {
		p.message = func(p *peer, number int, payload, raw []byte) error {
			if number == 10 && !stalled.Swap(true) {
				time.Sleep(stall) // the fault
			}
			return answerClose(p, number, payload, raw)
		}
	})
	j := pacedJob(addr)
	j.Conns = 1
	r, err := Run(j)
	if err != nil {
		t.Fatal(err)
	}
	if r.Max < stall*9/10 || r.P99 < stall*7/10 {
		t.Errorf("a stall of %v among 50 messages of 100 ms: p99 %v, max %v", stall, r.P99, r.Max)
	}
}

func TestPacedFindsFaults(t *testing.T) {
	for _, test := range []struct {
		name, want string
		do         func(p *peer, payload []byte) error
	}{
		{"drops it", "out of order", func(*peer, []byte) error { return nil }},
		{"alters it", "wrong answer", func(p *peer, m []byte) error {
			m[len(m)-1] ^= 1
			return p.send(0x82, m)
		}},
		{"cuts the connection", "ended", func(*peer, []byte) error { return io.EOF }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			addr := serve(t, func(p *peer) {
				p.message = func(p *peer, number int, payload, raw []byte) error {
					if number == 3 && p.id == 1 {
						return test.do(p, payload)
					}
					return answerClose(p, number, payload, raw)
				}
			})
			if _, err := Run(pacedJob(addr)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v does not contain %q", err, test.want)
			}
		})
	}
}

// The connection that does not block is what is measured, not those that do.
func TestBlock(t *testing.T) {
	const block = 30 * time.Millisecond
	addr := serve(t, func(p *peer) {
		p.message = func(p *peer, number int, payload, raw []byte) error {
			if len(payload) > probeSize {
				time.Sleep(block) // what is measured
			}
			return answerClose(p, number, payload, raw)
		}
	})
	j := pacedJob(addr)
	j.Kind, j.Size, j.Warm, j.Duration = Block, 64, 10*time.Millisecond, 300*time.Millisecond
	r, err := Run(j)
	if err != nil {
		t.Fatal(err)
	}
	if r.P50 <= 0 || r.P50 >= block || r.Messages == 0 {
		t.Errorf("%+v", r)
	}
}

func TestHandshakes(t *testing.T) {
	var accepted atomic.Int64
	addr := serve(t, func(p *peer) {
		accepted.Add(1)
		p.message = echo
	})
	j := Job{Kind: Handshake, Addr: addr, Path: "/", Conns: 7, Window: 1, Patience: time.Second, Warm: 1, Duration: 20 * time.Millisecond, PID: os.Getpid()}
	r, err := Run(j)
	if err != nil {
		t.Fatal(err)
	}
	if r.Messages == 0 || r.Messages%7 != 0 || r.Messages > uint64(accepted.Load()) || r.Server <= 0 || r.Wall < j.Duration {
		t.Errorf("%d were accepted: %+v", accepted.Load(), r)
	}
	for _, change := range []func(*Job){
		func(j *Job) { j.TLS = true },
		func(j *Job) { j.Addr = "127.0.0.1:1" },
	} {
		bad := j
		change(&bad)
		if r, err := Run(bad); err == nil {
			t.Errorf("%+v has the result %+v", bad, r)
		}
	}
}
