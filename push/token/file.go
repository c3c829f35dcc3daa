package token

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

const (
	// fileInterval is how often a file is looked at while it is in use.
	fileInterval = 5 * time.Second

	// maxFile is the longest file of keys.
	maxFile = 1 << 20
)

// A file holds what was read from a file, and reads it again when it is asked for
// and some time has passed: so a file that nobody asks for costs nothing, and the
// first one who asks after a change gets what is new. Its bytes are compared, not its
// time: two changes within a tick of the clock look the same, and mounted secrets
// are changed by changing links. What cannot be read or parsed changes nothing.
type file[T any] struct {
	path  string
	parse func([]byte) (T, error)
	log   *slog.Logger

	reading sync.Mutex // held while the file is read
	text    []byte     // of the file that value is from
	failure string     // of the last attempt, "" if it was right

	mu     sync.Mutex
	value  T
	looked time.Time
}

// openFile reads a file for the first time. log may be nil.
func openFile[T any](path string, log *slog.Logger, parse func([]byte) (T, error)) (*file[T], error) {
	if log == nil {
		log = slog.Default()
	}
	f := &file[T]{path: path, parse: parse, log: log}
	return f, f.reload()
}

// get returns what is in the file, as it was at most fileInterval ago. Only the caller
// who is the first after that time waits for the disk.
func (f *file[T]) get() T {
	f.mu.Lock()
	due := time.Since(f.looked) >= fileInterval
	if due {
		f.looked = time.Now()
	}
	f.mu.Unlock()
	if due {
		f.reload() // says in the log what is wrong
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.value
}

// reload reads the file now. After an error, what was read before goes on to count.
func (f *file[T]) reload() error {
	f.reading.Lock()
	defer f.reading.Unlock()
	f.mu.Lock()
	f.looked = time.Now()
	f.mu.Unlock()

	text, err := readFile(f.path)
	if err == nil && f.text != nil && bytes.Equal(text, f.text) {
		f.failure = ""
		return nil
	}
	var value T
	if err == nil {
		value, err = f.parse(text)
		if err != nil {
			err = fmt.Errorf("%s: %w", f.path, err)
		}
	}
	first := f.text == nil
	if err != nil {
		if text := err.Error(); !first && text != f.failure { // once, and not every time
			f.failure = text
			f.log.Error("keys cannot be read again: those read before go on to count", "error", text)
		}
		return err
	}
	f.text, f.failure = text, ""
	f.mu.Lock()
	f.value = value
	f.mu.Unlock()
	if !first {
		f.log.Info("keys have changed", "file", f.path)
	}
	return nil
}

// readFile reads a file that somebody may be about to replace by anything.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // a pipe may never end, and has nothing at the second time
		return nil, fmt.Errorf("%s: it is not a regular file", path)
	}
	in, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxFile:
		return nil, fmt.Errorf("%s: it is longer than %d bytes", path, maxFile)
	case len(text) == 0:
		return nil, fmt.Errorf("%s: it is empty", path)
	}
	return text, nil
}

// A KeyFile is a Source of the keys in a file. It notices within 5 s of use when the
// file changes. If it cannot be read then, the keys it had go on to count, and the log
// says why.
type KeyFile struct{ file *file[Keys] }

// OpenKeyFile reads a file of at most 1 MiB in one of the forms that ParseKeys takes.
// log gets what happens to it later; nil: slog.Default().
func OpenKeyFile(path string, log *slog.Logger) (*KeyFile, error) {
	f, err := openFile(path, log, ParseKeys)
	if err != nil {
		return nil, err
	}
	return &KeyFile{f}, nil
}

// Keys returns the keys in the file.
func (f *KeyFile) Keys(context.Context, string) (Keys, error) { return f.file.get(), nil }

// Reload reads the file now. After an error the keys are those from before.
func (f *KeyFile) Reload() error { return f.file.reload() }
