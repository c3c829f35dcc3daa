package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/duplexgo/duplex/bench/server"
)

// options are what the flags say.
type options struct {
	suite       suite
	contestants []server.Contestant
	modes       []mode
	rounds      int
	duration    time.Duration
	warm        time.Duration
	settle      time.Duration
	idle        int
	many        int
	receivers   int
	json        bool
	write       bool
	profiles    string
}

// parse reads the flags. It returns flag.ErrHelp after it has printed what they
// are.
func parse(args []string, out io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(out)
	which := flags.String("suite", libraries.name, "what is compared: "+libraries.name+", libraries for WebSocket, or "+pushServers.name+", push servers")
	quick := flags.Bool("quick", false, "try all modes in less than a minute; the figures mean little: sets what of rounds, duration, warm, settle, idle, many and receivers is not given")
	only := flags.String("only", "", "contestants, separated by commas; all by default: "+perSuite(contestantNames))
	some := flags.String("modes", "", "modes, separated by commas; all by default: "+perSuite(modeNames))
	flags.IntVar(&o.rounds, "rounds", 5, "how often each contestant is measured in each mode; the tables show medians")
	flags.DurationVar(&o.duration, "duration", 700*time.Millisecond, "how long a measurement takes")
	flags.DurationVar(&o.warm, "warm", 200*time.Millisecond, "how long a server works before it is measured")
	flags.DurationVar(&o.settle, "settle", 2*time.Second, "how long connections do nothing before they count as idle")
	flags.IntVar(&o.idle, "idle", 5000, "how many idle connections")
	flags.IntVar(&o.many, "many", 1000, "how many connections there are where there are many")
	flags.IntVar(&o.receivers, "receivers", 10000, "how many receivers the larger broadcasts have")
	flags.BoolVar(&o.write, "write", false, "write the suite's page in docs and table in the README; on by default where nothing but -json and -suite is given")
	flags.BoolVar(&o.json, "json", false, "print everything that was measured as JSON instead of tables")
	flags.StringVar(&o.profiles, "cpuprofile", "", "an existing folder for CPU profiles of the servers, one for each measurement, contestant-mode-round.pprof; profiling costs time of its own")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q is not a flag; see -help", flags.Arg(0))
	}
	i := slices.IndexFunc(suites, func(s suite) bool { return s.name == *which })
	if i < 0 {
		return o, fmt.Errorf("there is no suite %q; there are %s and %s", *which, libraries.name, pushServers.name)
	}
	o.suite = suites[i]
	given := make(map[string]bool)
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if others := len(given); !given["write"] {
		for _, name := range []string{"json", "suite"} {
			if given[name] {
				others--
			}
		}
		o.write = others == 0
	}
	if o.write && (*only != "" || *some != "") {
		return o, errors.New("-write is for all modes and contestants: what was not measured would be lost from the document")
	}
	if *quick {
		for name, value := range map[string]string{"rounds": "1", "duration": "50ms", "warm": "10ms", "settle": "50ms", "idle": "200", "many": "100", "receivers": "500"} {
			if !given[name] {
				if err := flags.Set(name, value); err != nil {
					return o, err
				}
			}
		}
	}
	if o.rounds < 1 || o.idle < 1 || o.many < 1 || o.receivers < 1 || o.duration <= 0 || o.warm < 0 || o.settle < 0 {
		return o, errors.New("rounds, idle, many, receivers and duration must be positive, warm and settle not negative")
	}
	for _, name := range names(*only, contestantNames(o.suite)) {
		i := slices.IndexFunc(o.suite.contestants, func(c server.Contestant) bool { return c.Name == name })
		if i < 0 {
			return o, fmt.Errorf("there is no contestant %q; there are %s", name, strings.Join(contestantNames(o.suite), ", "))
		}
		o.contestants = append(o.contestants, o.suite.contestants[i])
	}
	all := o.suite.modes(o)
	for _, name := range names(*some, modeNames(o.suite)) {
		i := slices.IndexFunc(all, func(m mode) bool { return m.name == name })
		if i < 0 {
			return o, fmt.Errorf("there is no mode %q; there are %s", name, strings.Join(modeNames(o.suite), ", "))
		}
		o.modes = append(o.modes, all[i])
	}
	return o, nil
}

// names splits a list, each name once.
func names(list string, all []string) []string {
	if list == "" {
		return all
	}
	var split []string
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); !slices.Contains(split, name) {
			split = append(split, name)
		}
	}
	return split
}

func contestantNames(s suite) []string {
	var all []string
	for _, c := range s.contestants {
		all = append(all, c.Name)
	}
	return all
}

func modeNames(s suite) []string {
	var all []string
	for _, m := range s.modes(options{}) {
		all = append(all, m.name)
	}
	return all
}

// perSuite writes the names that each suite has.
func perSuite(names func(suite) []string) string {
	var all []string
	for _, s := range suites {
		all = append(all, s.name+": "+strings.Join(names(s), ","))
	}
	return strings.Join(all, "; ")
}
