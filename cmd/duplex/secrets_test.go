package main

import (
	"strings"
	"testing"

	"github.com/duplexgo/duplex/push/protocol"
)

// However a key or a token is shown, and whether it is good or not, the log does not
// have it, at the level that tells the most.
func TestServeLogsNoSecrets(t *testing.T) {
	r, url := startServe(t, "--log-level", "debug", "--api-key-file", keyFile(t, testAPIKey), "--token-key-file", keyFile(t, testSecret))
	if code := waysIn["POST"](holder{t, url, testAPIKey}, "news"); code != 0 {
		t.Fatalf("publishing is refused with %d", code)
	}
	token := mintToken(t, "--user", "42", "--subscribe", "news")
	secrets := []string{testSecret, testAPIKey, token, testAPIKey + "x", token + "x", mintToken(t, "--subscribe", "news", "--audience", "another")}
	for _, secret := range secrets[1:] {
		for name, way := range waysIn {
			if code := way(holder{t, url, secret}, "news"); code != 0 && code != protocol.Unauthorized && code != protocol.Forbidden {
				t.Errorf("%s is refused with %d", name, code)
			}
		}
	}
	r.cancel()
	r.wait()
	log := r.stderr.String()
	if !strings.Contains(log, "level=DEBUG") {
		t.Errorf("the log tells little: %s", log)
	}
	for _, secret := range secrets {
		if strings.Contains(log, secret) {
			t.Errorf("the log has %s: %s", secret, log)
		}
	}
}
