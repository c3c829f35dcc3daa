package packaging

import (
	"context"
	"errors"
	"fmt"
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

// asInit is the variable that makes the test's program the beginning of a machine. Its
// value is the folder that becomes the root.
const asInit = "DUPLEX_TEST_AS_INIT"

const systemd = "/usr/lib/systemd/systemd"

func TestMain(m *testing.M) {
	if root := os.Getenv(asInit); root != "" {
		fmt.Fprintln(os.Stderr, begin(root))
		os.Exit(1)
	}
	if trust := os.Getenv(asLoad); trust != "" {
		load(trust)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// wanted are the units that a machine needs. All else that systemd and the packages of
// this system would start is left out.
var wanted = []string{"systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket"}

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
	switch err := <-started; {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.ENOSPC):
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

// begin makes a folder the root of this process, furnishes it, and goes on as systemd.
func begin(root string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_PRIVATE|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("leaving the mounts of the system: %w", err)
	}
	if err := syscall.Mount("machine", root, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mounting the root: %w", err)
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	for _, step := range []func() error{makeFolders, mountSystem, makeFiles, leaveOut, dropRights} {
		if err := step(); err != nil {
			return err
		}
	}
	if err := syscall.Sethostname([]byte("machine")); err != nil {
		return fmt.Errorf("naming the machine: %w", err)
	}
	if err := syscall.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("changing the root: %w", err)
	}
	if err := syscall.Unmount(".", syscall.MNT_DETACH); err != nil { // the old root, on top of the new one
		return fmt.Errorf("leaving the old root: %w", err)
	}
	os.Unsetenv(asInit)
	return syscall.Exec(systemd, []string{systemd, "--unit=multi-user.target"}, os.Environ())
}

// makeFolders makes the folders of the root, where /bin and the like may be links.
func makeFolders() error {
	for _, name := range strings.Fields("usr etc/systemd/system etc/ssl/certs proc sys dev run tmp var/tmp var/lib root") {
		if err := os.MkdirAll(name, 0o755); err != nil {
			return err
		}
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		target, err := os.Readlink("/" + name)
		switch {
		case err == nil:
			err = os.Symlink(target, name)
		case errors.Is(err, fs.ErrNotExist):
			err = nil
		default:
			if err = os.Mkdir(name, 0o755); err == nil {
				err = syscall.Mount("/"+name, name, "", syscall.MS_BIND, "")
			}
		}
		if err != nil {
			return fmt.Errorf("/%s: %w", name, err)
		}
	}
	return errors.Join(os.Chmod("tmp", 0o1777), os.Chmod("var/tmp", 0o1777))
}

// mountSystem mounts what is the system's, and what is each machine's own. What could
// change this system is only to be read.
func mountSystem() error {
	const readOnly = syscall.MS_BIND | syscall.MS_REMOUNT | syscall.MS_RDONLY
	type mount struct {
		source, target, kind string
		flags                uintptr
		data                 string
	}
	mounts := []mount{
		{"/usr", "usr", "", syscall.MS_BIND, ""}, {"", "usr", "", readOnly, ""},
		{"local", "usr/local", "tmpfs", 0, "mode=755"},
		{"proc", "proc", "proc", 0, ""},
		{"sys", "sys", "sysfs", syscall.MS_RDONLY, ""},
		{"cgroup", "sys/fs/cgroup", "cgroup2", 0, ""},
		{"run", "run", "tmpfs", 0, "mode=755"},
		{"shm", "dev/shm", "tmpfs", 0, ""},
		{"devpts", "dev/pts", "devpts", 0, "newinstance,ptmxmode=0666"},
	}
	for _, name := range []string{"proc/sys", "proc/sysrq-trigger"} {
		if _, err := os.Stat("/" + name); err != nil { // it is not in every kernel
			continue
		}
		mounts = append(mounts, mount{name, name, "", syscall.MS_BIND, ""}, mount{"", name, "", readOnly, ""})
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		if err := os.WriteFile("dev/"+name, nil, 0o644); err != nil {
			return err
		}
		mounts = append(mounts, mount{"/dev/" + name, "dev/" + name, "", syscall.MS_BIND, ""})
	}
	if err := errors.Join(os.Mkdir("dev/shm", 0o755), os.Mkdir("dev/pts", 0o755), os.Symlink("pts/ptmx", "dev/ptmx")); err != nil {
		return err
	}
	for _, m := range mounts {
		if err := syscall.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mounting /%s: %w", m.target, err)
		}
	}
	return nil
}

// makeFiles makes the machine's /etc. Who types there is root, so that sudo has only to
// run the command.
func makeFiles() error {
	files := map[string]string{
		"etc/passwd":         "root:x:0:0::/root:/bin/bash\nnobody:x:65534:65534::/:/usr/sbin/nologin\n",
		"etc/group":          "root:x:0:\nnogroup:x:65534:\n",
		"etc/nsswitch.conf":  "passwd: files\ngroup: files\nhosts: files\n",
		"etc/hosts":          "127.0.0.1 localhost machine\n",
		"etc/machine-id":     strings.Repeat("d", 32) + "\n",
		"usr/local/bin/sudo": "#!/bin/sh\nexec \"$@\"\n",
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// leaveOut masks the units that systemd and the packages of this system want to have
// started with the system.
func leaveOut() error {
	found, err := filepath.Glob("usr/lib/systemd/system/*.wants/*")
	if err != nil {
		return err
	}
	for _, unit := range found {
		name := filepath.Base(unit)
		if slices.Contains(wanted, name) {
			continue
		}
		if err := os.Symlink("/dev/null", filepath.Join("etc/systemd/system", name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// dropRights gives up what no namespace keeps inside: the clock, the kernel's modules
// and memory, and the like.
func dropRights() error {
	const (
		prCapbsetDrop   = 24 // prctl(2)
		capSysModule    = 16 // capabilities(7)
		capSysRawio     = 17
		capSysTime      = 25
		capMacOverride  = 32
		capMacAdmin     = 33
		capSyslog       = 34
		capWakeAlarm    = 35
		capBlockSuspend = 36
	)
	for _, c := range []uintptr{capSysModule, capSysRawio, capSysTime, capMacOverride, capMacAdmin, capSyslog, capWakeAlarm, capBlockSuspend} {
		if _, _, err := syscall.RawSyscall(syscall.SYS_PRCTL, prCapbsetDrop, c, 0); err != 0 {
			return fmt.Errorf("giving up a capability: %w", err)
		}
	}
	return nil
}
