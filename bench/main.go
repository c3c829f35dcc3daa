// Command bench compares this checkout's WebSocket library with others, its push
// server with another, and both with the least that a server in Go can do. The README beside it says what is measured
// and how. It runs on Linux.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/duplexgo/duplex/bench/load"
	"github.com/duplexgo/duplex/bench/server"
)

func main() {
	err := run(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is this program: the comparison, or one of the processes that it starts.
func run(args []string) error {
	if len(args) == 2 {
		switch args[0] {
		case server.ChildArg:
			return server.Main(args[1])
		case load.ChildArg:
			return load.Main(args[1])
		}
	}
	o, err := parse(args, os.Stderr)
	if err != nil {
		return err
	}
	const root = ".."
	if o.write {
		if err := o.suite.checkDocuments(root); err != nil {
			return err
		}
	}
	c := compare(o, os.Stderr)
	if o.json {
		err = c.writeJSON(os.Stdout)
	} else {
		err = c.writeTables(os.Stdout)
	}
	if o.write {
		err = errors.Join(err, c.writeDocuments(root))
	}
	return errors.Join(err, c.failure())
}
