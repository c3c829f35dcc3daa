package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/duplexgo/duplex/internal/load"
	"github.com/duplexgo/duplex/websocket"
)

// A bench is one run of the command.
type bench struct {
	client
	subprotocols []string

	mode     string
	conns    int
	size     size
	file     string
	binary   bool
	inFlight int
	compress bool
	bits     int
	forget   bool
	rate     float64
	any      bool
	ramp     time.Duration
	warmup   time.Duration
	duration time.Duration
	timeout  time.Duration
	threads  int
	pid      int

	json      bool
	html      string
	maxP99    time.Duration
	maxErrors int

	given func(flag string) bool // whether a flag is on the command line
}

func newBench() *cobra.Command {
	b := &bench{size: 32}
	cmd := &cobra.Command{
		Use:   "bench URL",
		Short: "Put load on a WebSocket server and measure how it bears it",
		Long: `Open many connections to a WebSocket server, make it work, and print how many
messages went round, how long they took, and what went wrong.

Modes:
  echo       each connection sends messages, and the server sends each of them back
  idle       the connections do nothing; with --pid, what one costs in memory
  broadcast  one more connection sends messages, and the server sends each of them
             to all connections, whether to the sender too does not matter

Every answer is compared with what was sent. A connection on which something else
comes, or which breaks, is counted by the kind of error, and the others go on.

With --in-flight each connection sends a message when an answer has come. With
--rate messages are sent at fixed times, and their latency is counted from these
times: a server that stalls delays all that is due meanwhile, and that shows.
Percentiles are at most 0.8 % too high.

With --compress permessage-deflate (RFC 7692) is offered, as browsers do, and where
the server agrees each message is sent compressed and each answer decompressed
and compared. What is sent is compressed once for all connections, so it costs
little here; to decompress takes some 10 µs for 1 KiB. Generated messages compress
better than any others: use --file with messages of the kind that you have. With
takeover a connection keeps up to 32 KiB here, or what --window-bits says.

On Linux, connections without TLS are few threads over epoll and cost under 1 KB
each here. To 127.0.0.1, connections come from 127.0.0.2 and so on once the ports of
an address have run out. If the load itself was at its limit, the result says so.

Exit codes: 0 it was measured to the end, 1 it was not, or --max-p99 or
--max-errors was missed, 2 the command line was wrong.`,
		Example: `  duplex bench ws://127.0.0.1:9001/
  duplex bench ws://127.0.0.1:9001/ --conns 1000 --in-flight 16 --size 1KiB
  duplex bench ws://127.0.0.1:9001/ --rate 5000 --max-p99 20ms --max-errors 0    # for CI
  duplex bench ws://127.0.0.1:9001/ --mode idle --conns 50000 --ramp 30s --pid $(pidof duplex)
  duplex bench wss://test.example/room --mode broadcast --file messages.txt -H 'Authorization: Bearer 123'
  duplex bench ws://127.0.0.1:9001/ --compress --window-bits 12 --file messages.txt
  duplex bench ws://127.0.0.1:9001/ --html result.html --json > result.json`,
		Args: positional([]string{"URL"}, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			b.given = cmd.Flags().Changed
			return b.run(cmd.Context(), args[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	b.flags(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&b.subprotocols, "subprotocol", nil, "ask for the subprotocol `NAME`; may be repeated, the best first")
	f.StringVar(&b.mode, "mode", "echo", "what is done: `MODE` is echo, idle or broadcast")
	f.IntVarP(&b.conns, "conns", "c", 100, "open `N` connections; a broadcast's sender is one more")
	f.Var(&b.size, "size", "send messages of this length")
	f.StringVar(&b.file, "file", "", "send the lines of `FILE` as messages, in turn")
	f.BoolVar(&b.binary, "binary", false, "send binary messages; with --file, the whole file as one")
	f.IntVar(&b.inFlight, "in-flight", 1, "keep `N` messages on their way on each connection that sends")
	f.Float64Var(&b.rate, "rate", 0, "send `N` messages a second, on all connections together, instead of --in-flight")
	f.BoolVar(&b.compress, "compress", false, "offer compression, permessage-deflate")
	f.IntVar(&b.bits, "window-bits", 0, "with --compress, ask for windows of at most 2^`N` bytes both ways, 8 to 15; 0: as the server likes")
	f.BoolVar(&b.forget, "no-takeover", false, "with --compress, ask that each message begins with an empty window, both ways")
	f.BoolVar(&b.any, "any-answer", false, "in mode echo, take any one message as the answer to one")
	f.DurationVar(&b.ramp, "ramp", 0, "open the connections evenly within this `TIME`; 0s: as quickly as the server takes them")
	f.DurationVar(&b.warmup, "warmup", time.Second, "let messages go round for this `TIME` before they count")
	f.DurationVar(&b.duration, "duration", 10*time.Second, "measure for this `TIME`")
	f.DurationVar(&b.timeout, "timeout", 10*time.Second, "wait at most this `TIME` for a connection to open, and for a message")
	f.IntVar(&b.threads, "threads", 0, "let the load use `N` threads; 0: half the processors")
	f.IntVar(&b.pid, "pid", 0, "tell memory, processor time and context switches of the server, the process `PID` of this machine; Linux only")
	f.BoolVar(&b.json, "json", false, "print the result as JSON")
	f.StringVar(&b.html, "html", "", "write the result as a page with a picture of the latencies to `FILE`")
	f.DurationVar(&b.maxP99, "max-p99", 0, "exit with 1 if the 99th percentile of the latency is over this `TIME`")
	f.IntVar(&b.maxErrors, "max-errors", 0, "exit with 1 if more than `N` connections failed")
	return cmd
}

// run does the whole: checks, a first connection, the load and the report.
func (b *bench) run(ctx context.Context, address string, stdout, stderr io.Writer) error {
	u, err := socketURL(address)
	if err != nil {
		return err
	}
	job, err := b.job(u)
	if err != nil {
		return err
	}
	if job.Addr, err = b.reach(ctx, u); err != nil {
		return err
	}
	show := newProgressLine(stderr)
	job.Progress = show.update
	began := time.Now()
	result, err := load.Run(ctx, job)
	show.clear()
	if err != nil {
		return err
	}
	report := b.report(u, began, result)
	if err := report.write(stdout, b); err != nil {
		return err
	}
	return b.verdict(report, result)
}

// job checks the flags and makes the job of them. Errors that are not of wrong use
// are of the file.
func (b *bench) job(u *url.URL) (j load.Job, err error) {
	if err := b.check(); err != nil {
		return j, err
	}
	header, host, err := b.header()
	if err != nil {
		return j, err
	}
	j = load.Job{
		Mode:         load.Mode(b.mode),
		URL:          u,
		Header:       header,
		Host:         host,
		Subprotocols: b.subprotocols,
		TLSConfig:    b.tls(),
		Conns:        b.conns,
		InFlight:     b.inFlight,
		Rate:         b.rate,
		Any:          b.any,
		Ramp:         b.ramp,
		Warmup:       b.warmup,
		Duration:     b.duration,
		Timeout:      b.timeout,
		PID:          b.pid,
		Threads:      b.threads,
	}
	if b.compress {
		j.Compression = &load.Compression{Bits: b.bits, NoTakeover: b.forget}
	}
	if j.Mode != load.Idle {
		j.Payload, err = b.payload()
	}
	return j, err
}

// check looks at what flags say by themselves and together.
func (b *bench) check() error {
	if err := checkSubprotocols(b.subprotocols); err != nil {
		return err
	}
	const most = 1 << 24
	switch {
	case !slices.Contains([]string{"echo", "idle", "broadcast"}, b.mode):
		return wrongUse("--mode %q: a mode is echo, idle or broadcast", b.mode)
	case b.conns < 1 || b.conns > most-2:
		return wrongUse("--conns is a number from 1 to %d", most-2)
	case b.size > load.MaxPayload:
		return wrongUse("--size is at most %d bytes", load.MaxPayload)
	case b.file != "" && b.given("size"):
		return wrongUse("--size and --file both say what is sent: use one of them")
	case b.inFlight < 1 || b.inFlight > 1<<20:
		return wrongUse("--in-flight is a number from 1 to %d", 1<<20)
	case b.given("rate") && !(b.rate > 0 && b.rate <= 1e8):
		return wrongUse("--rate is a number of messages a second, more than 0 and at most 100000000")
	case b.given("rate") && b.given("in-flight"):
		return wrongUse("--rate and --in-flight both say when messages are sent: use one of them")
	case !b.compress && (b.given("window-bits") || b.given("no-takeover")):
		return wrongUse("--window-bits and --no-takeover say how to compress: use them with --compress")
	case b.bits != 0 && (b.bits < 8 || b.bits > 15):
		return wrongUse("--window-bits is a number from 8 to 15, or 0")
	case b.any && b.mode != "echo":
		return wrongUse("--any-answer is for --mode echo")
	case b.ramp < 0 || b.warmup < 0:
		return wrongUse("--ramp and --warmup must not be negative")
	case b.duration <= 0:
		return wrongUse("--duration must be more than zero, as in 10s")
	case b.timeout <= 0:
		return wrongUse("--timeout must be more than zero, as in 10s")
	case b.threads < 0 || b.threads > 1024:
		return wrongUse("--threads is a number from 0 to 1024")
	case b.given("pid") && b.pid < 1:
		return wrongUse("--pid is the number of a process, 1 or more")
	case b.given("max-p99") && b.maxP99 <= 0:
		return wrongUse("--max-p99 must be more than zero, as in 20ms")
	case b.given("max-p99") && b.mode == "idle":
		return wrongUse("--max-p99 is of no use in --mode idle: nothing is sent")
	case b.maxErrors < 0:
		return wrongUse("--max-errors is a number, 0 or more")
	}
	if b.mode == "idle" {
		for _, name := range []string{"size", "file", "binary", "in-flight", "rate"} {
			if b.given(name) {
				return wrongUse("--%s is of no use in --mode idle: nothing is sent", name)
			}
		}
	}
	if b.pid != 0 {
		if _, err := load.ReadUsage(b.pid); err != nil {
			return wrongUse("--pid %d cannot be looked at: %v", b.pid, err)
		}
	}
	return nil
}

// payload reads or makes what is sent.
func (b *bench) payload() (*load.Payload, error) {
	if b.file == "" {
		return load.Generate(int(b.size), b.binary)
	}
	info, err := os.Stat(b.file)
	if err == nil && info.Size() > load.MaxPayload {
		err = fmt.Errorf("it has more than %d bytes", load.MaxPayload)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(b.file)
	}
	if err != nil {
		if path, ok := errors.AsType[*os.PathError](err); ok {
			err = path.Err
		}
		return nil, wrongUse("--file %s cannot be read: %v", b.file, err)
	}
	if b.binary {
		return load.Whole(data), nil
	}
	if bytes.IndexByte(data, 0) >= 0 {
		return nil, wrongUse("--file %s is not a text: use --binary to send it as one binary message", b.file)
	}
	p, err := load.Lines(data)
	if err != nil {
		return nil, wrongUse("--file %s: %v", b.file, err)
	}
	return p, nil
}

// reach opens one connection and closes it again: whatever is wrong with the URL,
// the server or its certificate is said once and clearly, before there is any load.
func (b *bench) reach(ctx context.Context, u *url.URL) (to netip.AddrPort, err error) {
	header, host, err := b.header()
	if err != nil {
		return to, err
	}
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, u.String(), &websocket.DialOptions{
		Subprotocols: b.subprotocols,
		Header:       header,
		Host:         host,
		TLSConfig:    b.tls(),
	})
	if err != nil {
		return to, unreached(u.Redacted(), resp, err)
	}
	addr, ok := conn.RemoteAddr().(*net.TCPAddr)
	_ = conn.Close(websocket.CloseNormal, "") // that it opened is enough
	if !ok {
		return to, fmt.Errorf("%s: its address is not one of TCP", u.Redacted())
	}
	return addr.AddrPort(), nil
}

// verdict is the error with which the command ends: a run that was cut short, or a
// bound that was missed.
func (b *bench) verdict(r *report, result *load.Result) error {
	var missed []error
	if result.Stopped != nil {
		missed = append(missed, stopped(result))
	}
	for _, t := range r.Thresholds {
		if t.Missed {
			missed = append(missed, fmt.Errorf("missed: %s", t.text))
		}
	}
	if result.Stopped == nil && r.Mode != "idle" && result.Received == 0 {
		missed = append(missed, errors.New("not one message came while it was measured: measure for longer, or look at the errors"))
	}
	return oneLine(missed)
}

// stopped says why a run ended before its time.
func stopped(result *load.Result) error {
	what := result.Stopped.Error()
	if errors.Is(result.Stopped, context.Canceled) {
		what = "interrupted"
	}
	if len(result.Failures) > 0 {
		what += "; most often: " + result.Failures[0].Example
	}
	if result.Wall > 0 {
		return fmt.Errorf("the run ended early, after %v of measurement: %s", result.Wall.Round(time.Millisecond), what)
	}
	return fmt.Errorf("the run ended before the measurement: %s", what)
}

// oneLine joins errors with semicolons; nil if there are none.
func oneLine(errs []error) error {
	var all error
	for _, err := range errs {
		if all == nil {
			all = err
		} else {
			all = fmt.Errorf("%w; %w", all, err)
		}
	}
	return all
}
