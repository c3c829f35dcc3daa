//go:build unix

// Package packaging has what others build and install Duplex with, and its tests.
package packaging

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/duplexgo/duplex/internal/links"
)

// An instruction is one of the Containerfile, with its arguments.
type instruction struct{ name, args string }

// stage returns the instructions of the n-th image.
func stage(t *testing.T, n int) (found []instruction) {
	t.Helper()
	text, err := os.ReadFile("Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, args, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if name == "FROM" {
			n--
		}
		if n == -1 {
			found = append(found, instruction{name, args})
		}
	}
	return found
}

// only returns the arguments of the instruction that an image has once.
func only(t *testing.T, stage []instruction, name string) (args string) {
	t.Helper()
	count := 0
	for _, i := range stage {
		if i.name == name {
			args = i.args
			count++
		}
	}
	if count != 1 {
		t.Fatalf("%s is there %d times", name, count)
	}
	return args
}

// The program of the Containerfile's build line is all that its image needs: it runs
// as the image's user in a folder that has nothing else.
func TestContainerfile(t *testing.T) {
	build, image := stage(t, 0), stage(t, 1)
	if from := only(t, image, "FROM"); from != "scratch" {
		t.Errorf("the image has %s under it", from)
	}
	var uid, gid uint32
	if _, err := fmt.Sscanf(only(t, image, "USER"), "%d:%d", &uid, &gid); err != nil || uid == 0 || gid == 0 {
		t.Fatalf("the user is %d:%d, want numbers that are not root's: %v", uid, gid, err)
	}
	var entry, cmd []string
	for name, words := range map[string]*[]string{"ENTRYPOINT": &entry, "CMD": &cmd} {
		if err := json.Unmarshal([]byte(only(t, image, name)), words); err != nil {
			t.Fatalf("%s is not in the form that needs no shell: %v", name, err)
		}
	}
	if len(entry) != 1 || !slices.Contains(image, instruction{"COPY", "--from=build /out/duplex " + entry[0]}) {
		t.Fatalf("the entry is %q, which the image does not have", entry)
	}
	root := t.TempDir()
	program := filepath.Join(root, entry[0])
	line := strings.ReplaceAll(only(t, build, "RUN"), "/out/duplex", program)
	make := exec.CommandContext(t.Context(), "sh", "-c", line)
	make.Dir = ".."
	make.Env = append(os.Environ(), "VERSION=v1.2.3", "TARGETOS=linux", "TARGETARCH="+runtime.GOARCH, "GOWORK=")
	if out, err := make.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	wantStatic(t, program)
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("only root of Linux can run it as the image does")
	}
	if err := os.Chmod(root, 0o755); err != nil { // of the image: everybody's to read
		t.Fatal(err)
	}
	inside := func(args ...string) *exec.Cmd {
		c := exec.CommandContext(t.Context(), entry[0], args...)
		c.Err, c.Dir, c.Env = nil, "/", []string{}
		c.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: uid, Gid: gid}}
		return c
	}
	out, err := inside(cmd...).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 2 || !bytes.Contains(out, []byte("set keys with")) {
		t.Errorf("without keys: %v, %s", err, out)
	}
	resp, err := http.Get(serving(t, inside("serve", "--listen", "127.0.0.1:0")) + "/healthz")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", resp, err)
	}
	resp.Body.Close()
	if out, err := inside("--version").CombinedOutput(); err != nil || string(out) != "duplex v1.2.3\n" {
		t.Errorf("%s, %v", out, err)
	}
}

// serving starts a push server, which ends with the test, and returns its URL.
func serving(t *testing.T, serve *exec.Cmd) (url string) {
	t.Helper()
	stdout, stderr := new(output), new(output)
	serve.Stdout, serve.Stderr = stdout, stderr
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { serve.Process.Kill(); serve.Wait() })
	eventually(t, "the server says where it is", func() error {
		if url, _, _ = strings.Cut(regexp.MustCompile(`http://.*/console`).FindString(stdout.String()), "/console"); url == "" {
			return fmt.Errorf("it says %q, %q", stdout, stderr)
		}
		return nil
	})
	return url
}

// wantStatic checks that a program needs no library of the system, if it is one for
// Linux.
func wantStatic(t *testing.T, program string) {
	t.Helper()
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Errorf("%s is not static", program)
		}
	}
}

// The release has the program that it says, whole, and is the same when it is made
// again.
func TestRelease(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it needs GNU tar")
	}
	target := "linux/" + runtime.GOARCH
	name := "duplex-v1.2.3-rc.1-linux-" + runtime.GOARCH
	var sums [2][32]byte
	folder := ""
	for i := range sums {
		folder = t.TempDir()
		if out, err := exec.CommandContext(t.Context(), "./release", "v1.2.3-rc.1", folder, target).CombinedOutput(); err != nil || string(out) != name+".tar.gz\n" {
			t.Fatalf("%v: %s", err, out)
		}
		archive, err := os.ReadFile(filepath.Join(folder, name+".tar.gz"))
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = sha256.Sum256(archive)
	}
	if sums[0] != sums[1] {
		t.Error("the same source gives different archives")
	}
	want, err := os.ReadFile(filepath.Join(folder, "duplex-v1.2.3-rc.1-sha256.txt"))
	if err != nil || string(want) != fmt.Sprintf("%x  %s.tar.gz\n", sums[1], name) {
		t.Errorf("the checksums are %q, %v", want, err)
	}
	unpack(t, filepath.Join(folder, name+".tar.gz"), folder)
	for _, file := range []string{"LICENSE", "README.md", "docs/operations.md", "duplex.service", "duplex.socket", "duplex-redirect.socket", "duplex.sysusers", "alerts.yaml", "grafana.json"} {
		if _, err := os.Stat(filepath.Join(folder, name, file)); err != nil {
			t.Error(err)
		}
	}
	dead, err := links.Dead(os.DirFS(filepath.Join(folder, name)))
	if err != nil || len(dead) > 0 {
		t.Errorf("of the archive's documents %q, %v", dead, err)
	}
	program := filepath.Join(folder, name, "duplex")
	wantStatic(t, program)
	if out, err := exec.CommandContext(t.Context(), program, "--version").CombinedOutput(); err != nil || string(out) != "duplex v1.2.3-rc.1\n" {
		t.Errorf("%s, %v", out, err)
	}
}

// unpack puts the files of an archive into a folder.
func unpack(t *testing.T, archive, folder string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for files := tar.NewReader(z); ; {
		h, err := files.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(folder, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o755)
		} else {
			var content []byte
			if content, err = io.ReadAll(files); err == nil {
				err = os.WriteFile(path, content, h.FileInfo().Mode())
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestReleaseRefuses(t *testing.T) {
	for _, args := range [][]string{{}, {"1.2.3"}, {"v1"}, {"v1.2.3;x"}, {"v1.2.3", t.TempDir(), "plan9/amd64"}, {"v1.2.3", t.TempDir(), "linux"}} {
		out, err := exec.CommandContext(t.Context(), "./release", args...).CombinedOutput()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 2 {
			t.Errorf("%q: %v, %s", args, err, out)
		}
	}
}

// The units are understood by systemd, and the service may do little.
func TestUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("there is no systemd-analyze")
	}
	folder := t.TempDir()
	units := []string{"duplex.service", "duplex.socket", "duplex-redirect.socket"}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		// Of the program, only its being there is looked at.
		text = bytes.ReplaceAll(text, []byte("/usr/local/bin/duplex"), []byte("/bin/true"))
		if err := os.WriteFile(filepath.Join(folder, unit), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	analyze := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "systemd-analyze", args...)
		cmd.Dir = folder
		if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "Unknown") {
			t.Errorf("systemd-analyze %q: %v\n%s", args, err, out)
		}
	}
	analyze("verify", "--man=no", "--recursive-errors=no", "./"+units[0], "./"+units[1], "./"+units[2])
	analyze("security", "--offline=yes", "--threshold=15", "./duplex.service") // 1.5 of 10
}
