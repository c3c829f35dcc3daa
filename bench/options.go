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
	contestants []server.Contestant
	modes       []mode
	rounds      int
	duration    time.Duration
	warm        time.Duration
	settle      time.Duration
	idle        int
	json        bool
	profiles    string
}

// parse reads the flags. It returns flag.ErrHelp after it has printed what they
// are.
func parse(args []string, out io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(out)
	quick := flags.Bool("quick", false, "measure in some two minutes: sets what of rounds, duration, warm, settle and idle is not given")
	only := flags.String("only", "", "contestants, separated by commas; all by default: "+strings.Join(contestantNames(), ","))
	some := flags.String("modes", "", "modes, separated by commas; all by default: "+strings.Join(modeNames(), ","))
	flags.IntVar(&o.rounds, "rounds", 5, "how often each contestant is measured in each mode; the tables show medians")
	flags.DurationVar(&o.duration, "duration", 900*time.Millisecond, "how long a measurement takes")
	flags.DurationVar(&o.warm, "warm", 300*time.Millisecond, "how long a server works before it is measured")
	flags.DurationVar(&o.settle, "settle", 3*time.Second, "how long connections do nothing before they count as idle")
	flags.IntVar(&o.idle, "idle", 5000, "how many idle connections")
	flags.BoolVar(&o.json, "json", false, "print everything that was measured as JSON instead of tables")
	flags.StringVar(&o.profiles, "cpuprofile", "", "an existing folder for CPU profiles of the servers, one for each measurement, contestant-mode-round.pprof; profiling costs time of its own")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q is not a flag; see -help", flags.Arg(0))
	}
	if *quick {
		given := make(map[string]bool)
		flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
		for name, value := range map[string]string{"rounds": "2", "duration": "300ms", "warm": "150ms", "settle": "1s", "idle": "1000"} {
			if !given[name] {
				if err := flags.Set(name, value); err != nil {
					return o, err
				}
			}
		}
	}
	if o.rounds < 1 || o.idle < 1 || o.duration <= 0 || o.warm < 0 || o.settle < 0 {
		return o, errors.New("rounds, idle and duration must be positive, warm and settle not negative")
	}
	for _, name := range names(*only, contestantNames()) {
		c, err := server.Find(name)
		if err != nil {
			return o, fmt.Errorf("%w; there are %s", err, strings.Join(contestantNames(), ", "))
		}
		o.contestants = append(o.contestants, c)
	}
	all := modes(o)
	for _, name := range names(*some, modeNames()) {
		i := slices.IndexFunc(all, func(m mode) bool { return m.name == name })
		if i < 0 {
			return o, fmt.Errorf("there is no mode %q; there are %s", name, strings.Join(modeNames(), ", "))
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

func contestantNames() []string {
	var all []string
	for _, c := range server.All {
		all = append(all, c.Name)
	}
	return all
}

func modeNames() []string {
	var all []string
	for _, m := range modes(options{}) {
		all = append(all, m.name)
	}
	return all
}
