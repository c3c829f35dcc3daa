package wire

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// sendable is RFC 6455, 7.4.1 and 7.4.2 with the registry that they founded, as
// ranges: everything else is refused.
var sendable = []struct{ from, to int }{{1000, 1003}, {1007, 1014}, {3000, 4999}}

func TestSendable(t *testing.T) {
	for code := range 1 << 16 {
		want := false
		for _, r := range sendable {
			want = want || r.from <= code && code <= r.to
		}
		if got := CloseCode(code).Sendable(); got != want {
			t.Errorf("Sendable(%d) = %v, want %v", code, got, want)
		}
	}
}

func TestParseClose(t *testing.T) {
	full := strings.Repeat("r", MaxReason)
	tests := []struct {
		name    string
		payload string
		code    CloseCode
		reason  string
		answer  CloseCode // of the error; 0: none
	}{
		{"nothing", "", CloseNoStatus, "", 0},
		{"one byte", "\x03", 0, "", CloseProtocolError},
		{"code alone", "\x03\xe8", CloseNormal, "", 0},
		{"reason", "\x03\xe9bye", CloseGoingAway, "bye", 0},
		{"longest reason", "\x03\xe8" + full, CloseNormal, full, 0},
		{"reason of many bytes a character", "\x03\xe8κόσμε€😀", CloseNormal, "κόσμε€😀", 0},
		{"code 0", "\x00\x00", 0, "", CloseProtocolError},
		{"code 999", "\x03\xe7", 0, "", CloseProtocolError},
		{"code 1004", "\x03\xec", 0, "", CloseProtocolError},
		{"code 1005", "\x03\xed", 0, "", CloseProtocolError},
		{"code 1006", "\x03\xee", 0, "", CloseProtocolError},
		{"code 1014", "\x03\xf6", CloseBadGateway, "", 0},
		{"code 1015", "\x03\xf7", 0, "", CloseProtocolError},
		{"code 2999", "\x0b\xb7", 0, "", CloseProtocolError},
		{"code 3000", "\x0b\xb8", 3000, "", 0},
		{"code 4999", "\x13\x87", 4999, "", 0},
		{"code 5000", "\x13\x88", 0, "", CloseProtocolError},
		{"code 65535", "\xff\xff", 0, "", CloseProtocolError},
		{"reason that is not UTF-8", "\x03\xe8\xff", 0, "", CloseInvalidPayload},
		{"reason cut within a character", "\x03\xe8\xe2\x82", 0, "", CloseInvalidPayload},
		{"reason with a surrogate", "\x03\xe8\xed\xa0\x80", 0, "", CloseInvalidPayload},
		{"wrong code and wrong reason", "\x03\xe7\xff", 0, "", CloseProtocolError},
	}
	for _, row := range tests {
		t.Run(row.name, func(t *testing.T) {
			code, reason, err := ParseClose([]byte(row.payload))
			if code != row.code || reason != row.reason {
				t.Errorf("ParseClose(%q) = %v, %q; want %v, %q", row.payload, code, reason, row.code, row.reason)
			}
			var broken *Error
			switch {
			case row.answer == 0 && err != nil:
				t.Errorf("error %v, want none", err)
			case row.answer != 0 && (!errors.As(err, &broken) || broken.Code != row.answer):
				t.Errorf("error %v, want an *Error with code %v", err, row.answer)
			}
		})
	}
}

// The longest close frame is a control frame's payload of 125 bytes; a reason
// that does not fit loses whole characters, never a part of one.
func TestAppendClose(t *testing.T) {
	tests := []struct {
		name   string
		reason string
		kept   int // bytes of it
	}{
		{"empty", "", 0},
		{"short", "bye", 3},
		{"just fits", strings.Repeat("a", MaxReason), MaxReason},
		{"one over", strings.Repeat("a", MaxReason+1), MaxReason},
		{"far over", strings.Repeat("a", 10*MaxReason), MaxReason},
		{"two bytes fit", strings.Repeat("a", MaxReason-2) + "é!", MaxReason},
		{"two bytes over by one", strings.Repeat("a", MaxReason-1) + "é", MaxReason - 1},
		{"three bytes over by one", strings.Repeat("a", MaxReason-2) + "€", MaxReason - 2},
		{"three bytes over by two", strings.Repeat("a", MaxReason-1) + "€", MaxReason - 1},
		{"four bytes over by one", strings.Repeat("a", MaxReason-3) + "😀", MaxReason - 3},
		{"four bytes over by two", strings.Repeat("a", MaxReason-2) + "😀", MaxReason - 2},
		{"four bytes over by three", strings.Repeat("a", MaxReason-1) + "😀", MaxReason - 1},
		{"four bytes fit", strings.Repeat("a", MaxReason-4) + "😀!", MaxReason},
	}
	for _, row := range tests {
		t.Run(row.name, func(t *testing.T) {
			b := AppendClose([]byte("kept"), CloseNormal, row.reason)
			want := "kept\x03\xe8" + row.reason[:row.kept]
			if string(b) != want {
				t.Fatalf("AppendClose = %q, want %q", b, want)
			}
			if len(b)-4 > MaxControl || !utf8.Valid(b[6:]) {
				t.Errorf("%q does not fit a close frame", b[4:])
			}
			code, reason, err := ParseClose(b[4:])
			if code != CloseNormal || reason != row.reason[:row.kept] || err != nil {
				t.Errorf("read back: %v, %q, %v", code, reason, err)
			}
		})
	}
}

// A reason that is no text at all must not make AppendClose run wild.
func TestAppendCloseOfContinuationBytes(t *testing.T) {
	b := AppendClose(nil, CloseNormal, strings.Repeat("\x80", 2*MaxControl))
	if len(b) < 2 || len(b) > MaxControl {
		t.Errorf("%d bytes", len(b))
	}
}

func TestAppendCloseNoStatus(t *testing.T) {
	if b := AppendClose([]byte("kept"), CloseNoStatus, "not sent"); string(b) != "kept" {
		t.Errorf("AppendClose of CloseNoStatus = %q, want nothing added", b)
	}
}

func TestCloseCodeString(t *testing.T) {
	for code, want := range map[CloseCode]string{
		CloseNormal:        "1000 (normal closure)",
		CloseMessageTooBig: "1009 (message too big)",
		1004:               "1004",
		4000:               "4000",
		0:                  "0",
	} {
		if got := code.String(); got != want {
			t.Errorf("String = %q, want %q", got, want)
		}
	}
	for code := range closeMeanings {
		if code < 1000 || code > 1015 {
			t.Errorf("a meaning for %d, which is nobody's but the application's", code)
		}
	}
}
