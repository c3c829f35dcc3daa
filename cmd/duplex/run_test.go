package main

import (
	"context"
	"net"
	"strings"
	"testing"
)

// Wrong use is one line that says what was wrong and what to do, and exit code 2.
func TestWrongUse(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"", "duplex: no command given: it is one of serve, echo, connect, pub, sub, token, compare, bench, completion; try 'duplex --help'"},
		{"frobnicate", `duplex: unknown command "frobnicate": it is one of serve, echo, connect, pub, sub, token, compare, bench, completion; try 'duplex --help'`},
		{"conect", `duplex: unknown command "conect": is it connect?; try 'duplex --help'`},
		{"--listen", "duplex: unknown flag: --listen; try 'duplex --help'"},
		{"help frobnicate", `duplex help: no help for "frobnicate": the commands are serve, echo, connect, pub, sub, token, compare, bench, completion; try 'duplex help --help'`},

		{"echo now", `duplex echo: unexpected argument "now"; try 'duplex echo --help'`},
		{"echo --port 80", "duplex echo: unknown flag: --port; try 'duplex echo --help'"},
		{"echo -x", "duplex echo: unknown shorthand flag: 'x' in -x; before arguments that begin with - write --; try 'duplex echo --help'"},
		{"echo --listen", "duplex echo: flag needs an argument: --listen; try 'duplex echo --help'"},
		{"echo --listen 9001", `duplex echo: --listen "9001" is not HOST:PORT, as in 127.0.0.1:8080 or [::1]:8080; try 'duplex echo --help'`},
		{"echo --listen ::1:9001", `duplex echo: --listen "::1:9001" is not HOST:PORT, as in 127.0.0.1:8080 or [::1]:8080; try 'duplex echo --help'`},
		{"echo --listen 127.0.0.1:http", `duplex echo: --listen "127.0.0.1:http": the port is a number from 0 (any free port) to 65535; try 'duplex echo --help'`},
		{"echo --listen 127.0.0.1:65536", `duplex echo: --listen "127.0.0.1:65536": the port is a number from 0 (any free port) to 65535; try 'duplex echo --help'`},
		{"serve --history-messages many", `duplex serve: invalid argument "many" for "--history-messages" flag: a whole number is wanted; try 'duplex serve --help'`},
		{"serve --history-age 5", `duplex serve: invalid argument "5" for "--history-age" flag: a time has a unit, as in 10s or 1h30m; try 'duplex serve --help'`},
		{"echo --max-message big", `duplex echo: invalid argument "big" for "--max-message" flag: a size is a whole number of bytes with an optional unit, as in 512, 64KiB or 16MiB; try 'duplex echo --help'`},
		{"echo --max-message 0", `duplex echo: invalid argument "0" for "--max-message" flag: a size is at least 1 byte; try 'duplex echo --help'`},

		{"serve now", `duplex serve: unexpected argument "now"; try 'duplex serve --help'`},
		{"serve --listen 8080", `duplex serve: --listen "8080" is not HOST:PORT, as in 127.0.0.1:8080 or [::1]:8080; try 'duplex serve --help'`},

		{"connect", "duplex connect: URL is missing; try 'duplex connect --help'"},
		{"connect ws://h/ x", `duplex connect: unexpected argument "x"; try 'duplex connect --help'`},
		{"connect 127.0.0.1:9001", `duplex connect: "127.0.0.1:9001" is not a URL with a host, as in ws://127.0.0.1:9001/; try 'duplex connect --help'`},
		{"connect localhost:9001", `duplex connect: "localhost:9001" is not a URL with a host, as in ws://127.0.0.1:9001/; try 'duplex connect --help'`},
		{"connect ftp://h/", `duplex connect: "ftp://h/" begins with ftp: a URL here begins with ws, wss, http or https, as in ws://127.0.0.1:9001/; try 'duplex connect --help'`},
		{"connect ws://:80/", `duplex connect: "ws://:80/" has no host, as in ws://127.0.0.1:9001/; try 'duplex connect --help'`},
		{"connect ws://h:99999/", `duplex connect: "ws://h:99999/" has the port 99999: a port is at most 65535; try 'duplex connect --help'`},
		{"connect ws://h/#a", `duplex connect: "ws://h/#a" has a fragment (#): the URL of a WebSocket has none; write it as %23 if it is part of the path; try 'duplex connect --help'`},
		{"connect ws://h/ -H Cookie", `duplex connect: -H "Cookie" is not a header, as in 'Authorization: Bearer 123'; try 'duplex connect --help'`},
		{"connect ws://h/ -H :x", `duplex connect: -H ":x" is not a header, as in 'Authorization: Bearer 123'; try 'duplex connect --help'`},
		{"connect ws://h/ -H a:b\r\nc:d", `duplex connect: -H "a:b\r\nc:d" is not a header, as in 'Authorization: Bearer 123'; try 'duplex connect --help'`},
		{"connect ws://h/ -H upgrade:h2c", "duplex connect: -H Upgrade cannot be set: the connection needs its own; try 'duplex connect --help'"},
		{"connect ws://h/ -H sec-websocket-key:x", "duplex connect: -H Sec-Websocket-Key cannot be set: the connection needs its own; try 'duplex connect --help'"},
		{"connect ws://h/ -H sec-websocket-protocol:x", "duplex connect: -H Sec-Websocket-Protocol cannot be set: use --subprotocol; try 'duplex connect --help'"},
		{"connect ws://h/ --subprotocol a,b", `duplex connect: --subprotocol "a,b" is not a name of letters, digits and -._~; try 'duplex connect --help'`},
		{"connect ws://h/ --subprotocol a --subprotocol a", `duplex connect: --subprotocol "a" is given twice; try 'duplex connect --help'`},
		{"connect ws://h/ --close-timeout 0", `duplex connect: --close-timeout must be more than zero, as in 5s; try 'duplex connect --help'`},

		{"pub", "duplex pub: URL is missing; try 'duplex pub --help'"},
		{"pub http://h", "duplex pub: CHANNEL is missing; try 'duplex pub --help'"},
		{"pub http://h a b c", `duplex pub: unexpected argument "c"; try 'duplex pub --help'`},
		{"pub h a b", `duplex pub: "h" is not a URL with a host, as in http://127.0.0.1:8080; try 'duplex pub --help'`},
		{"pub http://h?a=b a b", `duplex pub: "http://h?a=b" has a query: the address of a server has none, as in http://127.0.0.1:8080; try 'duplex pub --help'`},
		{"pub http://h a b --timeout -1s", `duplex pub: --timeout must be more than zero, as in 30s; try 'duplex pub --help'`},

		{"sub http://h", "duplex sub: CHANNEL is missing; try 'duplex sub --help'"},
		{"sub h a", `duplex sub: "h" is not a URL with a host, as in http://127.0.0.1:8080; try 'duplex sub --help'`},
		{"sub http://h a --history -1", "duplex sub: --history is a number of messages, 0 or more; try 'duplex sub --help'"},
		{"bench", "duplex bench: URL is missing; try 'duplex bench --help'"},
		{"bench h", `duplex bench: "h" is not a URL with a host, as in ws://127.0.0.1:9001/; try 'duplex bench --help'`},
		{"bench ws://h/ --mode fast", `duplex bench: --mode "fast": a mode is echo, idle or broadcast; try 'duplex bench --help'`},
		{"bench ws://h/ -c 0", "duplex bench: --conns is a number from 1 to 16777214; try 'duplex bench --help'"},
		{"bench ws://h/ --size 2GiB", "duplex bench: --size is at most 1073741824 bytes; try 'duplex bench --help'"},
		{"bench ws://h/ --size 1 --file x", "duplex bench: --size and --file both say what is sent: use one of them; try 'duplex bench --help'"},
		{"bench ws://h/ --file /nowhere", "duplex bench: --file /nowhere cannot be read: no such file or directory; try 'duplex bench --help'"},
		{"bench ws://h/ --in-flight 0", "duplex bench: --in-flight is a number from 1 to 1048576; try 'duplex bench --help'"},
		{"bench ws://h/ --rate many", `duplex bench: invalid argument "many" for "--rate" flag: a number is wanted; try 'duplex bench --help'`},
		{"bench ws://h/ --rate 0", "duplex bench: --rate is a number of messages a second, more than 0 and at most 100000000; try 'duplex bench --help'"},
		{"bench ws://h/ --rate NaN", "duplex bench: --rate is a number of messages a second, more than 0 and at most 100000000; try 'duplex bench --help'"},
		{"bench ws://h/ --rate 5 --in-flight 5", "duplex bench: --rate and --in-flight both say when messages are sent: use one of them; try 'duplex bench --help'"},
		{"bench ws://h/ --mode broadcast --any-answer", "duplex bench: --any-answer is for --mode echo; try 'duplex bench --help'"},
		{"bench ws://h/ --mode idle --rate 5", "duplex bench: --rate is of no use in --mode idle: nothing is sent; try 'duplex bench --help'"},
		{"bench ws://h/ --mode idle --max-p99 5s", "duplex bench: --max-p99 is of no use in --mode idle: nothing is sent; try 'duplex bench --help'"},
		{"bench ws://h/ --ramp -1s", "duplex bench: --ramp and --warmup must not be negative; try 'duplex bench --help'"},
		{"bench ws://h/ --duration 0", "duplex bench: --duration must be more than zero, as in 10s; try 'duplex bench --help'"},
		{"bench ws://h/ --timeout 0", "duplex bench: --timeout must be more than zero, as in 10s; try 'duplex bench --help'"},
		{"bench ws://h/ --threads -1", "duplex bench: --threads is a number from 0 to 1024; try 'duplex bench --help'"},
		{"bench ws://h/ --pid 0", "duplex bench: --pid is the number of a process, 1 or more; try 'duplex bench --help'"},
		{"bench ws://h/ --max-p99 0s", "duplex bench: --max-p99 must be more than zero, as in 20ms; try 'duplex bench --help'"},
		{"bench ws://h/ --max-errors -1", "duplex bench: --max-errors is a number, 0 or more; try 'duplex bench --help'"},
		{"bench ws://h/ --subprotocol a,b", `duplex bench: --subprotocol "a,b" is not a name of letters, digits and -._~; try 'duplex bench --help'`},
		{"bench ws://h/ -H upgrade:h2c", "duplex bench: -H Upgrade cannot be set: the connection needs its own; try 'duplex bench --help'"},

		{"sub http://h a --history 1 --since x.1", "duplex sub: --history and --since both say where to begin: use one of them; try 'duplex sub --help'"},
	} {
		t.Run(test.args, func(t *testing.T) {
			args := strings.FieldsFunc(test.args, func(r rune) bool { return r == ' ' })
			got := duplex(t, strings.NewReader(""), args...)
			if got.code != exitUsage || got.stderr != test.want+"\n" || got.stdout != "" {
				t.Errorf("exit code %d, stdout %q, stderr\n%swant\n%s", got.code, got.stdout, got.stderr, test.want)
			}
		})
	}
}

func TestEmptyChannelIsWrongUse(t *testing.T) {
	for _, args := range [][]string{{"pub", "http://h", "", "x"}, {"sub", "http://h", "a", ""}} {
		if got := duplex(t, strings.NewReader(""), args...); got.code != exitUsage || !strings.Contains(got.stderr, "CHANNEL is empty") {
			t.Errorf("%q: exit code %d, %q", args, got.code, got.stderr)
		}
	}
}

// A message must not attack the terminal by what the user pasted, or a script
// was given.
func TestErrorsAreOneVisibleLine(t *testing.T) {
	got := duplex(t, nil, "--x\x1b[31m\ny")
	if want := `duplex: unknown flag: --x\x1b[31m\ny; try 'duplex --help'` + "\n"; got.stderr != want {
		t.Errorf("stderr is %q, want %q", got.stderr, want)
	}
}

func TestHelp(t *testing.T) {
	for command, words := range map[string][]string{
		"":        {"serve", "echo", "connect", "pub", "sub", "bench", "Exit codes"},
		"serve":   {"--listen HOST:PORT", "127.0.0.1:8080", "--insecure", "SIGTERM"},
		"echo":    {"--listen HOST:PORT", "127.0.0.1:9001", "--max-message SIZE", "16MiB"},
		"connect": {"-H, --header", "--subprotocol NAME", "--insecure", "--binary", "--max-message SIZE", "--close-timeout TIME"},
		"pub":     {"-H, --header", "--insecure", "--max-message SIZE", "--timeout TIME"},
		"sub":     {"-H, --header", "--insecure", "--history N", "--since POSITION"},
		"bench":   {"-H, --header", "--insecure", "--mode MODE", "-c, --conns N", "--size SIZE", "--rate N", "--max-p99 TIME", "--pid PID", "Exit codes"},
	} {
		for _, args := range [][]string{{command, "--help"}, {command, "-h"}, {"help", command}} {
			got := duplex(t, nil, strings.Fields(strings.Join(args, " "))...)
			if got.code != exitOK || got.stderr != "" {
				t.Errorf("%q: exit code %d, stderr %q", args, got.code, got.stderr)
			}
			for _, word := range append(words, "Examples:\n  duplex "+command, "--help") {
				if !strings.Contains(got.stdout, word) {
					t.Errorf("%q does not tell of %q:\n%s", args, word, got.stdout)
				}
			}
			if strings.Contains(got.stdout, "\x1b") {
				t.Errorf("%q prints escapes where there is no terminal", args)
			}
		}
	}
}

func TestVersion(t *testing.T) {
	if got := duplex(t, nil, "--version"); got.code != exitOK || !strings.HasPrefix(got.stdout, "duplex ") {
		t.Errorf("exit code %d, stdout %q", got.code, got.stdout)
	}
}

// A server whose port cannot be had says so and what to do.
func TestPortTaken(t *testing.T) {
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, command := range []string{"echo", "serve"} {
		got := duplex(t, nil, command, "--listen", ln.Addr().String())
		want := "duplex " + command + ": cannot listen on " + ln.Addr().String() + ": the port is taken: stop the program that has it, or choose another port with --listen (0: any free one)\n"
		if got.code != exitFailure || got.stderr != want || got.stdout != "" {
			t.Errorf("exit code %d, stdout %q, stderr %q, want %q", got.code, got.stdout, got.stderr, want)
		}
	}
}

func TestForeignAddress(t *testing.T) {
	got := duplex(t, nil, "echo", "--listen", "192.0.2.1:0") // RFC 5737: nobody has it
	if got.code != exitFailure || !strings.Contains(got.stderr, "not an address of this machine") || strings.Count(got.stderr, "\n") != 1 {
		t.Errorf("exit code %d, stderr %q", got.code, got.stderr)
	}
}
