//go:build !linux

package load

import (
	"errors"
	"time"
)

// ReadUsage needs the files of /proc, which this system does not have.
func ReadUsage(int) (Usage, error) {
	return Usage{}, errors.New("what a process uses can be told on Linux only")
}

// CPUTime needs Linux too.
func CPUTime(int) (time.Duration, error) {
	return 0, errors.New("what a process uses can be told on Linux only")
}
