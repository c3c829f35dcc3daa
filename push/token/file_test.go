package token

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A file that changes is noticed, and one that breaks takes nothing away.
func TestKeyFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		path := filepath.Join(t.TempDir(), "key")
		write(t, path, secret)
		file, err := OpenKeyFile(path, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		other := strings.Repeat("other", 8)
		want := func(when, good, bad string) {
			t.Helper()
			for _, s := range []string{good, bad} {
				_, err := (&Verifier{Keys: file}).Verify(t.Context(), sign(t, jose.HS256, []byte(s), "", good0))
				if (err == nil) != (s == good) {
					t.Errorf("%s: signed with %.5s: %v", when, s, err)
				}
			}
		}
		want("at first", secret, other)
		write(t, path, other)
		time.Sleep(fileInterval - time.Second)
		want("before it is looked at", secret, other)
		time.Sleep(time.Second)
		want("after a change", other, secret)
		for _, text := range []string{"short", ""} {
			write(t, path, text)
			time.Sleep(fileInterval)
			want("broken", other, secret)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(fileInterval)
			want("gone", other, secret)
		}
		if err := file.Reload(); err == nil {
			t.Error("a file that is gone was read")
		}
		if n := strings.Count(log.String(), "level=ERROR"); n != 3 {
			t.Errorf("%d errors in the log, want one for each way to be broken:\n%s", n, &log)
		}
		if strings.Contains(log.String(), other) || strings.Contains(log.String(), "short\n") {
			t.Errorf("the log quotes keys:\n%s", &log)
		}
		write(t, path, secret)
		if err := file.Reload(); err != nil {
			t.Fatal(err)
		}
		want("read on demand", secret, other)
	})
}

var good0 = good(nil)

func TestFileThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	empty, long, short := filepath.Join(dir, "empty"), filepath.Join(dir, "long"), filepath.Join(dir, "short")
	write(t, empty, "")
	write(t, long, strings.Repeat("a", maxFile+1))
	write(t, short, "short")
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "no such file",
		dir:                        "not a regular file",
		empty:                      "empty",
		long:                       "longer than 1048576 bytes",
		short:                      short + ": ",
	} {
		if _, err := OpenKeyFile(path, nil); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("keys in %s: %v, want %s", path, err, want)
		}
		if _, err := OpenAPIKeys(path, nil); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("API keys in %s: %v, want %s", path, err, want)
		}
	}
}
