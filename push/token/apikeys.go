package token

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// APIKeys are the keys of those who may do everything. Each of several is good, so
// that one can be replaced while it is in use. The zero value, and nil, is none.
type APIKeys struct {
	hashes apiHashes
	file   *file[apiHashes] // nil: they do not come from a file
}

type apiHashes [][sha256.Size]byte

// The limits of API keys. 16 characters are the least that cannot be tried out over a
// network, if they are random.
const (
	minAPIKey  = 16
	maxAPIKey  = 512
	maxAPIKeys = 100
)

// ParseAPIKeys reads keys that stand on lines of their own, 1 to 100 of them. A key
// has 16 to 512 characters that a header may have: of ASCII, visible, no spaces.
// Empty lines, and those that begin with #, do not count.
func ParseAPIKeys(text []byte) (*APIKeys, error) {
	hashes, err := parseAPIKeys(text)
	if err != nil {
		return nil, err
	}
	return &APIKeys{hashes: hashes}, nil
}

// OpenAPIKeys reads a file of at most 1 MiB as ParseAPIKeys does, and again within 5 s
// of use when it changes. If it cannot be read then, the keys it had go on to count,
// and the log says why. nil: slog.Default().
func OpenAPIKeys(path string, log *slog.Logger) (*APIKeys, error) {
	f, err := openFile(path, log, parseAPIKeys)
	if err != nil {
		return nil, err
	}
	return &APIKeys{file: f}, nil
}

// Reload reads the file now, if they come from one. After an error the keys are those
// from before.
func (k *APIKeys) Reload() error {
	if k == nil || k.file == nil {
		return nil
	}
	return k.file.reload()
}

// Has reports whether a key is one of them. What it takes in time tells nothing of
// how long the keys are, how much of one is right, or which it is: hashes are
// compared, all of them, and to their ends.
func (k *APIKeys) Has(key string) bool {
	if k == nil || len(key) > maxAPIKey {
		return false
	}
	hashes := k.hashes
	if k.file != nil {
		hashes = k.file.get()
	}
	hash := sha256.Sum256([]byte(key))
	found := 0
	for i := range hashes {
		found |= subtle.ConstantTimeCompare(hash[:], hashes[i][:])
	}
	return found == 1
}

func parseAPIKeys(text []byte) (apiHashes, error) {
	var hashes apiHashes
	n := 0
	for line := range strings.Lines(strings.TrimPrefix(string(text), "\uFEFF")) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := checkAPIKey(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		hashes = append(hashes, sha256.Sum256([]byte(line)))
	}
	switch {
	case len(hashes) == 0:
		return nil, errors.New("there is no API key in it")
	case len(hashes) > maxAPIKeys:
		return nil, fmt.Errorf("there are %d API keys, more than %d", len(hashes), maxAPIKeys)
	}
	return hashes, nil
}

func checkAPIKey(key string) error {
	switch {
	case strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("an API key is of visible ASCII characters, without spaces")
	case len(key) < minAPIKey || len(key) > maxAPIKey:
		return fmt.Errorf("an API key has %d to %d characters, this one has %d: make one with 'openssl rand -hex 32'", minAPIKey, maxAPIKey, len(key))
	}
	return nil
}
