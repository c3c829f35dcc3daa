package handshake

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
)

func TestAccept(t *testing.T) {
	for key, want := range map[string]string{
		"dGhlIHNhbXBsZSBub25jZQ==": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", // RFC 6455, 1.3
		// Stray bits in the last character: the characters count, not the 16 bytes.
		"eHlqIGCmZVwFTKolp53iMP==": "QLVAeRtctb3x8iqHoXw3CfCCuT0=",
		"eHlqIGCmZVwFTKolp53iMA==": "uJhFfk8ayP/TRy9Jzzmq++x6BdI=",
	} {
		if got := Accept(key); got != want {
			t.Errorf("Accept(%q) = %q, want %q", key, got, want)
		}
	}
}

func TestNewKey(t *testing.T) {
	seen := make(map[string]bool)
	for range 100 {
		key := NewKey()
		if !isKey(key) {
			t.Fatalf("NewKey() = %q, which is no key", key)
		}
		if seen[key] {
			t.Fatalf("NewKey() returned %q twice", key)
		}
		seen[key] = true
	}
}

func TestKey(t *testing.T) {
	const good = "dGhlIHNhbXBsZSBub25jZQ=="
	tests := []struct {
		name   string
		values []string
		want   error
	}{
		{"good", []string{good}, nil},
		{"stray bits in the last character", []string{"eHlqIGCmZVwFTKolp53iMP=="}, nil},
		{"missing", nil, errNoKey},
		{"twice the same", []string{good, good}, errManyKey},
		{"two", []string{good, "eHlqIGCmZVwFTKolp53iMP=="}, errManyKey},
		{"empty", []string{""}, errKey},
		{"15 bytes", []string{base64.StdEncoding.EncodeToString(make([]byte, 15))}, errKey},
		{"17 bytes", []string{base64.StdEncoding.EncodeToString(make([]byte, 17))}, errKey},
		{"18 bytes, 24 characters", []string{base64.StdEncoding.EncodeToString(make([]byte, 18))}, errKey},
		{"a megabyte", []string{strings.Repeat("A", 1<<20)}, errKey},
		{"without padding", []string{strings.TrimRight(good, "=")}, errKey},
		{"URL alphabet", []string{"-_hlIHNhbXBsZSBub25jZQ=="}, errKey},
		{"not base64", []string{"dGhlIHNhbXBsZSBub25jZQ!="}, errKey},
		{"a space in front", []string{" " + good}, errKey},
		{"line breaks, which the decoder skips", []string{good[:12] + "\r\n" + good[12:]}, errKey},
		{"two in one line", []string{good + ", " + good}, errKey},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := http.Header{}
			if test.values != nil {
				h["Sec-Websocket-Key"] = test.values
			}
			key, err := Key(h)
			if err != test.want {
				t.Fatalf("error %v, want %v", err, test.want)
			}
			if err == nil && key != test.values[0] {
				t.Errorf("key %q, want it as it was sent: %q", key, test.values[0])
			}
		})
	}
}
