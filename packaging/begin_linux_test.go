package packaging

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// asInit is the variable that makes the test's program the beginning of a machine. Its
// value is the folder that becomes the root.
const asInit = "DUPLEX_TEST_AS_INIT"

const systemd = "/usr/lib/systemd/systemd"

// wanted are the units that a machine needs. All else that systemd and the packages of
// this system would start is left out.
var wanted = []string{"systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket"}

const (
	toldAt      = 3  // the descriptor at which the test hears why a machine does not begin
	exitRefused = 77 // this system does not allow it
)

// beginOrTell does not return: this process becomes the machine's systemd, or tells why
// not.
func beginOrTell(root string) {
	runtime.LockOSThread() // rights are a thread's
	syscall.CloseOnExec(toldAt)
	err := begin(root)
	fmt.Fprint(os.NewFile(toldAt, "told"), err)
	if errors.Is(err, fs.ErrPermission) {
		os.Exit(exitRefused)
	}
	os.Exit(1)
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
	for _, step := range []func() error{makeFolders, mountSystem, makeDevices, makeFiles, leaveOut, dropRights} {
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
	for _, name := range strings.Fields("usr etc/systemd/system etc/ssl/certs proc sys dev/pts dev/shm run tmp var/tmp var/lib root") {
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
	for _, m := range mounts {
		if err := syscall.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mounting /%s: %w", m.target, err)
		}
	}
	return nil
}

// makeDevices makes those that every program expects.
func makeDevices() error {
	for name, number := range map[string]int{"null": 1<<8 | 3, "zero": 1<<8 | 5, "full": 1<<8 | 7, "random": 1<<8 | 8, "urandom": 1<<8 | 9, "tty": 5 << 8} {
		name = filepath.Join("dev", name)
		if err := errors.Join(syscall.Mknod(name, syscall.S_IFCHR, number), os.Chmod(name, 0o666)); err != nil {
			return fmt.Errorf("making /%s: %w", name, err)
		}
	}
	return os.Symlink("pts/ptmx", "dev/ptmx")
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
