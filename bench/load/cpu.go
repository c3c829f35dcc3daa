package load

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// cpuTime returns the processor time that a process has used, of all its threads,
// in its own code and in the system's on its behalf. The clock of the process
// counts nanoseconds; /proc, where that clock is denied, hundredths of a second.
func cpuTime(pid int) (time.Duration, error) {
	var ts syscall.Timespec
	clock := int32(^pid)<<3 | 2 // see clock_getcpuclockid(3): bit 1 is the scheduler's own clock
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, uintptr(uint32(clock)), uintptr(unsafe.Pointer(&ts)), 0)
	if errno == 0 {
		return time.Duration(ts.Nano()), nil
	}
	return statTime(pid)
}

// statTime reads utime and stime, the 14th and 15th fields of /proc/pid/stat. The
// second field is the program's name and may have blanks in it.
func statTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat is not as expected: %q", pid, text)
	}
	var ticks time.Duration
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat is not as expected: %w", pid, err)
		}
		ticks += time.Duration(n)
	}
	return ticks * (time.Second / 100), nil
}

// switches returns how often the threads of a process have given their processor
// away, to wait or because it was taken from them.
func switches(pid int) (int64, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("no threads of process %d in /proc", pid)
	}
	var sum int64
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended meanwhile
		}
		for line := range strings.Lines(string(text)) {
			if _, count, ok := strings.Cut(line, "voluntary_ctxt_switches:"); ok {
				n, err := strconv.ParseInt(strings.TrimSpace(count), 10, 64)
				if err != nil {
					return 0, fmt.Errorf("%s: %w", name, err)
				}
				sum += n
			}
		}
	}
	return sum, nil
}
