package main

import (
	"fmt"

	"github.com/duplexgo/duplex/bench/server"
)

// A suite is one comparison: its contestants, what is measured of them, and where that
// is written.
type suite struct {
	name        string
	contestants []server.Contestant
	modes       func(options) []mode
	goals       func() []goal
	own         []string // of the contestants, those that are ours

	title    string // of the page
	command  string // that writes it
	document string // the page's file, below the repository's root
	begins   string // line of the README above the table
	ends     string // and below it
	short    []shortColumn
	caption  func(options) string // what the README says of its table
}

var suites = []suite{libraries, pushServers}

var libraries = suite{
	name:        "websocket",
	contestants: server.All,
	modes:       modes,
	goals:       goals,
	own:         []string{callbacks, blocking},
	title:       "Performance",
	command:     "go run .",
	document:    "docs/performance.md",
	begins:      tableBegins,
	ends:        tableEnds,
	short:       shortLibraries,
	caption: func(o options) string {
		return fmt.Sprintf("The server's processor time for a message in microseconds: echo of 32 bytes with 64\nconnections, and what the column says that is different; a delivery of a broadcast to\n%s with 8 in flight; and the resident memory of an idle connection after traffic.", grouped(o.many))
	},
}
