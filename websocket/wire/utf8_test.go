package wire

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

var texts = []struct {
	name  string
	bytes string
	wrong int // index of the first wrong byte; -1: none
	open  bool
}{
	{"empty", "", -1, false},
	{"ASCII", "Hello\x00\x7f", -1, false},
	{"all lengths", "aκ€😀z", -1, false},
	{"Greek", "κόσμε", -1, false},
	{"smallest and largest of each length", "\x00\x7f\u0080\u07ff\u0800\uffff\U00010000\U0010ffff", -1, false},
	{"beside the surrogates", "\ud7ff\ue000", -1, false},
	{"replacement character", "\ufffd\ufffd", -1, false},
	{"not characters, yet UTF-8", "\ufffe\uffff\ufdd0", -1, false},
	{"byte order mark", "\ufeffx", -1, false},

	{"ends in 2 bytes", "a\xce", -1, true},
	{"ends in 3 bytes, 1 there", "a\xe2", -1, true},
	{"ends in 3 bytes, 2 there", "a\xe2\x82", -1, true},
	{"ends in 4 bytes, 1 there", "a\xf0", -1, true},
	{"ends in 4 bytes, 2 there", "a\xf0\x9f", -1, true},
	{"ends in 4 bytes, 3 there", "a\xf0\x9f\x98", -1, true},
	{"ends in U+FFFD", "\xef\xbf", -1, true},

	{"continuation first", "\x80", 0, false},
	{"continuation too many", "κ\xbf", 2, false},
	{"continuation after ASCII", "ab\x80cd", 2, false},
	{"ASCII in a character of 2", "\xceA", 1, false},
	{"ASCII in a character of 3", "\xe2\x82A", 2, false},
	{"ASCII in a character of 4", "\xf0\x9f\x98A", 3, false},
	{"start in a character", "\xe2\xce\xba", 1, false},
	{"start after half a character", "\xe2\x82\xce\xba", 2, false},
	{"overlong of 2", "\xc0\xaf", 0, false},
	{"overlong of 2, largest", "\xc1\xbf", 0, false},
	{"overlong of 3", "\xe0\x80\xaf", 1, false},
	{"overlong of 3, largest", "\xe0\x9f\xbf", 1, false},
	{"overlong of 4", "\xf0\x80\x80\xaf", 1, false},
	{"overlong of 4, largest", "\xf0\x8f\xbf\xbf", 1, false},
	{"first surrogate", "ab\xed\xa0\x80", 3, false},
	{"last surrogate", "\xed\xbf\xbf", 1, false},
	{"surrogates in pairs", "\xed\xa0\xbd\xed\xb8\x80", 1, false},
	{"over U+10FFFF", "κόσμε\xf4\x90\x80\x80", 11, false},
	{"far over U+10FFFF", "\xf5\x80\x80\x80", 0, false},
	{"5 bytes", "\xf8\x88\x80\x80\x80", 0, false},
	{"6 bytes", "\xfc\x84\x80\x80\x80\x80", 0, false},
	{"FE", "a\xfe", 1, false},
	{"FF", "a\xff", 1, false},
	{"long and wrong at its end", strings.Repeat("€", 100) + "\xff", 300, false},
	{"long and wrong in its middle", strings.Repeat("a", 100) + "\xe2(" + strings.Repeat("a", 100), 101, false},
}

// feed gives b to a UTF8 in pieces that end at the cuts, and returns the range
// of the piece that was refused, or -1, -1 and whether the text is complete.
func feed(b string, cuts ...int) (from, to int, complete bool) {
	var u UTF8
	for _, cut := range append(cuts, len(b)) {
		if !u.Valid([]byte(b[from:cut])) {
			return from, cut, false
		}
		from = cut
	}
	return -1, -1, u.Complete()
}

// A wrong byte is refused with the piece that it is in, wherever the cuts are:
// pieces of one byte, two pieces, three pieces.
func TestUTF8(t *testing.T) {
	for _, row := range texts {
		t.Run(row.name, func(t *testing.T) {
			check := func(cuts ...int) {
				t.Helper()
				from, to, complete := feed(row.bytes, cuts...)
				if row.wrong < 0 {
					if from != -1 || complete == row.open {
						t.Fatalf("cut at %v: piece %d-%d refused, complete %v; want a text, complete %v", cuts, from, to, complete, !row.open)
					}
				} else if row.wrong < from || row.wrong >= to {
					t.Fatalf("cut at %v: piece %d-%d refused, want the one with %d", cuts, from, to, row.wrong)
				}
			}
			check()
			every := make([]int, len(row.bytes))
			for i := range every {
				every[i] = i
			}
			check(every...)
			for i := range len(row.bytes) + 1 {
				check(i)
				for j := i; j <= len(row.bytes) && j < i+6; j++ {
					check(i, j)
				}
			}
			good, whole := oracleText([]byte(row.bytes))
			if want := row.wrong; want < 0 && (good != len(row.bytes) || whole == row.open) || want >= 0 && good != want {
				t.Errorf("the oracle disagrees: %d, %v", good, whole)
			}
		})
	}
}

// All sequences of two bytes and, of the bytes where the grammar turns, all of
// four, in every cut, against the grammar of RFC 3629.
func TestUTF8AgainstGrammar(t *testing.T) {
	for a := range 256 {
		for b := range 256 {
			compareText(t, string([]byte{byte(a), byte(b)}))
		}
	}
	turns := "\x41\x7f\x80\x8f\x90\x9f\xa0\xbd\xbf\xc1\xc2\xdf\xe0\xe1\xed\xef\xf0\xf3\xf4\xf5"
	for i := range len(turns) {
		for j := range len(turns) {
			for k := range len(turns) {
				for l := range len(turns) {
					compareText(t, string([]byte{turns[i], turns[j], turns[k], turns[l]}))
				}
			}
		}
	}
}

// compareText holds every cut of a short s against the oracle.
func compareText(t *testing.T, s string) {
	t.Helper()
	good, whole := oracleText([]byte(s))
	cuts := make([]int, 0, 8)
	for pattern := range 1 << max(len(s)-1, 0) {
		cuts = cuts[:0]
		for i := 1; i < len(s); i++ {
			if pattern>>(i-1)&1 == 1 {
				cuts = append(cuts, i)
			}
		}
		from, to, complete := feed(s, cuts...)
		if good == len(s) && (from != -1 || complete != whole) || good < len(s) && (good < from || good >= to) {
			t.Fatalf("%q cut at %v: piece %d-%d refused, complete %v; oracle: %d good, complete %v", s, cuts, from, to, complete, good, whole)
		}
	}
}

func TestUTF8Reset(t *testing.T) {
	var u UTF8
	u.Valid([]byte("\xe2\x82"))
	if u.Complete() {
		t.Fatal("complete in the middle of a character")
	}
	u.Reset()
	if !u.Complete() || !u.Valid([]byte("new")) {
		t.Error("Reset did not forget the unfinished character")
	}
}

func FuzzUTF8(f *testing.F) {
	for i, row := range texts {
		f.Add([]byte(row.bytes), uint64(i))
	}
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		good, whole := oracleText(b)
		var u UTF8
		r := rand.New(rand.NewPCG(seed, 0))
		for from := 0; from < len(b); {
			to := min(from+r.IntN(6), len(b)) // empty pieces too
			if valid := u.Valid(b[from:to]); valid != (good >= to) {
				t.Fatalf("%q: Valid(%q) = %v; oracle: %d good", b, b[from:to], valid, good)
			} else if !valid {
				return
			}
			from = to
		}
		if u.Complete() != whole {
			t.Fatalf("%q: complete %v; oracle %v", b, u.Complete(), whole)
		}
	})
}

func ExampleUTF8() {
	var u UTF8
	fmt.Println(u.Valid([]byte("caf\xc3")), u.Complete())
	fmt.Println(u.Valid([]byte("\xa9")), u.Complete())
	fmt.Println(u.Valid([]byte("\xa9")))
	// Output:
	// true false
	// true true
	// false
}
