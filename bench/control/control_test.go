package control

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is held is counted where it is held, and not once it is let go.
func TestMeasureCountsWhatIsHeld(t *testing.T) {
	srv := httptest.NewServer(Handler())
	defer srv.Close()
	c := Client(srv.URL)
	memory := func() Memory {
		t.Helper()
		m, err := c.Memory()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	const size = 32 << 20
	before := memory()
	held := make([]byte, size)
	for i := range held {
		held[i] = 1 // makes the page resident
	}
	stop := make(chan struct{})
	for range 1000 {
		go func() { <-stop }()
	}
	with := memory().Sub(before)
	if held[size-1] != 1 { // used until here
		t.Fatal("memory is broken")
	}
	close(stop)
	for name, got := range map[string]int64{"HeapLive": with.HeapLive, "HeapInUse": with.HeapInUse} {
		if got < size || got > size+size/4 {
			t.Errorf("%s grew by %d with %d bytes more", name, got, size)
		}
	}
	if with.Resident < size { // the race detector adds some of its own
		t.Errorf("Resident grew by %d with %d bytes more", with.Resident, size)
	}
	if with.StackInUse < 1000*2048 || with.Goroutines < 1000 || with.Goroutines > 1010 {
		t.Errorf("1000 goroutines more are %+v", with)
	}
	if got := memory().Sub(before); got.HeapLive > size/4 || got.Resident > with.Resident-size*3/4 {
		t.Errorf("what was let go is still counted: %+v", got)
	}
}

func TestProfileIsOneAtATime(t *testing.T) {
	srv := httptest.NewServer(Handler())
	defer srv.Close()
	c := Client(srv.URL)
	dir := t.TempDir()
	for _, name := range []string{"a", "b", ""} {
		file := name
		if name != "" {
			file = filepath.Join(dir, name)
		}
		if err := c.Profile(file); err != nil {
			t.Fatalf("profile %q: %v", name, err)
		}
	}
	for _, name := range []string{"a", "b"} {
		if s, err := os.Stat(filepath.Join(dir, name)); err != nil || s.Size() == 0 {
			t.Errorf("profile %s was not written: %v", name, err)
		}
	}
	if err := c.Profile(filepath.Join(dir, "none", "x")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a file that cannot be made: %v", err)
	}
}
