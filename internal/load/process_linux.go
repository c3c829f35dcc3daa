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

// ReadUsage returns what a process uses. A process that has ended has no memory, even
// while its parent has not taken notice and it is still listed.
func ReadUsage(pid int) (u Usage, err error) {
	if u.Switches, err = switches(pid); err != nil {
		return u, err
	}
	if u.Resident, err = resident(pid); err != nil {
		return u, err
	}
	u.CPU, err = CPUTime(pid)
	return u, err
}

// CPUTime returns the processor time that a process has used, of all its threads,
// in its own code and in the system's on its behalf. The clock of the process
// counts nanoseconds; /proc, where that clock is denied, hundredths of a second.
func CPUTime(pid int) (time.Duration, error) {
	// See clock_getcpuclockid(3): bit 1 is the scheduler's own clock.
	if d, ok := clock(int32(^pid)<<3 | 2); ok {
		return d, nil
	}
	return statTime(pid)
}

// threadTime returns the processor time of a thread of this process.
func threadTime(tid int) time.Duration {
	d, _ := clock(int32(^tid)<<3 | 4 | 2)
	return d
}

func clock(id int32) (time.Duration, bool) {
	var ts syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, uintptr(uint32(id)), uintptr(unsafe.Pointer(&ts)), 0)
	return time.Duration(ts.Nano()), errno == 0
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

// resident returns the memory of a process that is in RAM, in bytes.
func resident(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, fmt.Errorf("/proc/%d/statm is not as expected: %q", pid, text)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err == nil && pages == 0 {
		err = fmt.Errorf("process %d has ended", pid)
	}
	return pages * int64(os.Getpagesize()), err
}
