// Package control is the line between a measured server and whoever measures it,
// beside the connections that are measured: the server tells what memory it holds,
// and profiles itself while a measurement lasts.
package control

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"sync"
	"time"
)

// A Memory is what a process holds after its garbage has been collected and given
// back, in bytes.
type Memory struct {
	HeapLive   int64 // reachable objects
	HeapInUse  int64 // the heap's pages that hold at least one of them
	StackInUse int64 // goroutines' stacks
	Resident   int64 // pages of physical memory, all that the system counts
	Goroutines int64
}

// Sub returns the difference of two states of one process.
func (m Memory) Sub(before Memory) Memory {
	return Memory{
		HeapLive:   m.HeapLive - before.HeapLive,
		HeapInUse:  m.HeapInUse - before.HeapInUse,
		StackInUse: m.StackInUse - before.StackInUse,
		Resident:   m.Resident - before.Resident,
		Goroutines: m.Goroutines - before.Goroutines,
	}
}

// Measure collects garbage, gives free pages back to the system, and returns what
// is left of this process.
func Measure() (Memory, error) {
	runtime.GC() // the second one frees what finalizers and pools kept through the first
	runtime.GC()
	debug.FreeOSMemory()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	m := Memory{
		HeapLive:   int64(s.HeapAlloc),
		HeapInUse:  int64(s.HeapInuse),
		StackInUse: int64(s.StackInuse),
		Goroutines: int64(runtime.NumGoroutine()),
	}
	var err error
	m.Resident, err = resident()
	return m, err
}

// resident reads the process's resident set as the kernel adds it up page by page;
// the quick number in /proc/self/statm is off by some pages for each thread.
func resident() (int64, error) {
	text, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "Rss: %d kB", &kib); err == nil {
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("no line Rss in /proc/self/smaps_rollup")
}

// Handler is the server's end of the line.
func Handler() http.Handler {
	var p profile
	mux := http.NewServeMux()
	mux.HandleFunc("GET /memory", func(w http.ResponseWriter, r *http.Request) {
		m, err := Measure()
		if err == nil {
			err = json.NewEncoder(w).Encode(m)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("POST /profile", func(w http.ResponseWriter, r *http.Request) {
		if err := p.switchTo(r.FormValue("file")); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return mux
}

// A profile is the CPU profile that is being written.
type profile struct {
	mu   sync.Mutex
	file *os.File
}

// switchTo ends the profile that there is, and begins another unless name is "".
func (p *profile) switchTo(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file != nil {
		pprof.StopCPUProfile()
		err := p.file.Close()
		p.file = nil
		if err != nil {
			return err
		}
	}
	if name == "" {
		return nil
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		f.Close()
		return err
	}
	p.file = f
	return nil
}

// A Client is the measurer's end of the line: the URL of a server's Handler.
type Client string

// patience is for a server that collects the garbage of many connections.
const patience = 30 * time.Second

// Memory asks the server what it holds.
func (c Client) Memory() (Memory, error) {
	var m Memory
	body, err := c.do(http.MethodGet, "/memory")
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(body, &m)
}

// Profile makes the server write its CPU profile into a file, from now until the
// next call; "" ends it.
func (c Client) Profile(file string) error {
	_, err := c.do(http.MethodPost, "/profile?file="+url.QueryEscape(file))
	return err
}

func (c Client) do(method, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, string(c)+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("control %s: %s: %s", path, resp.Status, strings.TrimSpace(string(body)))
	}
	return body, nil
}
