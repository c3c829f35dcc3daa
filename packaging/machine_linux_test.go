package packaging

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A machine is a system of its own, booted by the systemd that is installed here: with
// processes, a network (loopback alone), control groups and files of its own. Of this
// system's files it has /usr, to read. It has no way to change anything outside of
// itself, and ends with the test, however that ends.
type machine struct {
	t     *testing.T
	init  *exec.Cmd
	ended chan struct{} // closed when it has
	group string        // its control group, as this system sees it
	said  output        // by its first process
}

func TestMain(m *testing.M) {
	if root := os.Getenv(asInit); root != "" {
		beginOrTell(root)
	}
	if trust := os.Getenv(asLoad); trust != "" {
		load(trust)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// boot starts a machine, and waits until it has started all that it is to start.
func boot(t *testing.T) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can boot a machine")
	}
	program(t, systemd, "systemd")
	program(t, "nsenter", "util-linux")
	m := &machine{t: t, ended: make(chan struct{})}
	m.makeGroup()
	m.start()
	m.settle()
	return m
}

// makeGroup makes the machine's control group, and removes those of tests that were
// killed.
func (m *machine) makeGroup() {
	m.t.Helper()
	const prefix = "duplex-test-"
	root := groups()
	if root == "" {
		m.t.Skip("control groups of the second version are not mounted")
	}
	old, err := filepath.Glob(filepath.Join(root, prefix+"*"))
	if err != nil {
		m.t.Fatal(err)
	}
	for _, group := range old {
		if _, err := os.Stat("/proc/" + strings.TrimPrefix(filepath.Base(group), prefix)); err != nil {
			removeGroup(group)
		}
	}
	m.group = filepath.Join(root, prefix+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(m.group, 0o755); err != nil {
		m.t.Skipf("control groups cannot be made: %v", err)
	}
	m.t.Cleanup(func() {
		if err := removeGroup(m.group); err != nil {
			m.t.Errorf("the control group stays: %v", err)
		}
	})
}

// groups returns where control groups of the second version are mounted.
func groups() string {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return f[1]
		}
	}
	return ""
}

// removeGroup removes a control group in which no process is left, and those below it.
func removeGroup(root string) error {
	var all []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			all = append(all, path)
		}
		return err
	})
	for _, group := range slices.Backward(all) {
		err = errors.Join(err, os.Remove(group))
	}
	return err
}

// start starts the machine's first process, and with the test ends it, and so all.
func (m *machine) start() {
	m.t.Helper()
	group, err := os.Open(m.group)
	if err != nil {
		m.t.Fatal(err)
	}
	defer group.Close()
	self, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}
	m.init = exec.Command(self)
	m.init.Env = []string{asInit + "=" + m.t.TempDir(), "container=duplex-test", "LC_ALL=C.UTF-8", path}
	m.init.Stdout, m.init.Stderr = &m.said, &m.said
	told, tell, err := os.Pipe()
	if err != nil {
		m.t.Fatal(err)
	}
	defer told.Close()
	m.init.ExtraFiles = []*os.File{tell} // toldAt
	m.init.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		UseCgroupFD:  true,
		CgroupFD:     int(group.Fd()),
		Unshareflags: syscall.CLONE_NEWCGROUP, // its root is the group that the process is in by then
		Pdeathsig:    syscall.SIGKILL,
		Setpgid:      true, // a ctrl-C for the test is not one for the machine, which restarts at it
	}
	started := make(chan error)
	go func() {
		defer close(m.ended)
		runtime.LockOSThread() // the signal comes when the thread that started it ends
		err := m.init.Start()
		started <- err
		if err == nil {
			m.init.Wait()
		}
	}()
	err = <-started
	tell.Close()
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.ENOSPC):
		m.t.Skipf("namespaces are refused: %v", err)
	case err != nil:
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		if m.t.Failed() {
			m.dump()
		}
		m.init.Process.Kill()
		<-m.ended
	})
	m.hear(told)
}

// hear waits until the first process has the machine's root. Before that, what is done
// in its namespaces would be done to this system's files.
func (m *machine) hear(told io.Reader) {
	m.t.Helper()
	problem, err := io.ReadAll(told) // until it is another program
	if err != nil {
		m.t.Fatal(err)
	}
	if len(problem) == 0 {
		return
	}
	<-m.ended
	if m.init.ProcessState.ExitCode() == exitRefused {
		m.t.Skipf("a machine is refused: %s", problem)
	}
	m.t.Fatalf("the machine does not begin: %s", problem)
}

// settle waits until the machine has booted.
func (m *machine) settle() {
	m.t.Helper()
	m.eventually("the machine boots", func() error {
		said, err := m.command(m.t.Context(), "systemctl", "is-system-running", "--wait").CombinedOutput()
		if state := strings.TrimSpace(string(said)); err != nil && state != "degraded" {
			return fmt.Errorf("%s, %w", state, err)
		}
		return nil
	})
	if failed, err := m.command(m.t.Context(), "systemctl", "--failed", "--plain", "--no-legend").CombinedOutput(); err != nil || len(failed) > 0 {
		m.t.Fatalf("units fail that the machine begins with: %s, %v", failed, err)
	}
}

// eventually waits until something does not fail any more, if the machine does not end.
func (m *machine) eventually(what string, try func() error) {
	m.t.Helper()
	eventually(m.t, what, func() error {
		select {
		case <-m.ended:
			m.t.Fatalf("%s: the machine has ended: %s", what, &m.said)
		default:
		}
		return try()
	})
}

// dump logs what the machine can tell of a failure.
func (m *machine) dump() {
	for _, args := range [][]string{
		{"systemctl", "list-units", "--all", "--plain", "--legend=no", "duplex*", "prometheus*"},
		{"journalctl", "-o", "short-monotonic", "-n", "20", "-t", "prometheus"},
		{"journalctl", "-o", "short-monotonic", "-n", "200", "_PID=1", "+", "_COMM=duplex"},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), patience) // that of the test has ended
		said, err := m.command(ctx, args[0], args[1:]...).CombinedOutput()
		cancel()
		m.t.Logf("%q in the machine, %v:\n%s", args, err, said)
	}
	m.t.Logf("its first process said %q", m.said.String())
}

// path is where commands are found in a machine.
const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// command returns a command to run in the machine, by its root.
func (m *machine) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return m.enter(ctx, "--mount --uts --ipc --net --pid --cgroup --root --wd", name, args...)
}

// enter returns a command to run in some of the machine's namespaces.
func (m *machine) enter(ctx context.Context, namespaces, name string, args ...string) *exec.Cmd {
	words := append([]string{"--target", strconv.Itoa(m.init.Process.Pid)}, strings.Fields(namespaces)...)
	cmd := exec.CommandContext(ctx, "nsenter", append(append(words, "--", name), args...)...)
	cmd.Env = []string{path, "HOME=/root", "LC_ALL=C.UTF-8", "CURL_CA_BUNDLE=" + trusted}
	cmd.WaitDelay = time.Second
	return cmd
}

// file returns where this process finds a file of the machine.
func (m *machine) file(name string) string {
	return filepath.Join("/proc", strconv.Itoa(m.init.Process.Pid), "root", name)
}

// write makes a file in the machine, and its folder.
func (m *machine) write(name, text string, mode os.FileMode) {
	m.t.Helper()
	err := os.MkdirAll(filepath.Dir(m.file(name)), 0o755)
	if err == nil {
		err = os.WriteFile(m.file(name), []byte(text), mode)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}
