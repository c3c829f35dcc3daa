package load

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// ChildArg, as the first argument, makes this program a generator; see Main.
const ChildArg = "generate-load"

// Main is the generator's process: the Job is its second argument, as JSON, and the
// Result is what it prints.
func Main(job string) error {
	var j Job
	if err := json.Unmarshal([]byte(job), &j); err != nil {
		return err
	}
	r, err := Run(j)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// Start does a Job in a child process: this program again, with ChildArg. Its
// descriptors are its own, and its memory is that of one job.
func Start(j Job) (r Result, err error) {
	job, err := json.Marshal(j)
	if err != nil {
		return r, err
	}
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	cmd := exec.Command(self, ChildArg, string(job))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		if said := strings.TrimSpace(stderr.String()); said != "" {
			err = fmt.Errorf("%s", said)
		}
		return r, err
	}
	return r, json.Unmarshal(out, &r)
}
