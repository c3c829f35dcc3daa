package wire

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
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
	{"much ASCII in a character", "\xe2\x82" + strings.Repeat("a", 64) + "\xac", 2, false},
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

// Every string of one to three bytes, and of four bytes every first and second one
// with the others from where the grammar turns, against the standard library.
func TestUTF8AgainstStandard(t *testing.T) {
	t.Parallel() // it is the slowest of this package
	check := func(b []byte) {
		var u UTF8
		if got := u.Valid(b) && u.Complete(); got != utf8.Valid(b) {
			t.Fatalf("%x: %v, standard library: %v", b, got, !got)
		}
	}
	for a := range 256 {
		check([]byte{byte(a)})
		for b := range 256 {
			check([]byte{byte(a), byte(b)})
			for c := range 256 {
				check([]byte{byte(a), byte(b), byte(c)})
			}
		}
	}
	turns := "\x00\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc2\xe0\xf0\xff"
	for a := range 256 {
		for b := range 256 {
			for _, c := range []byte(turns) {
				for _, d := range []byte(turns) {
					check([]byte{byte(a), byte(b), c, d})
				}
			}
		}
	}
}

// Long texts go by words and blocks: every text of the table at every place of
// one, after ASCII and after others, in pieces that fit the blocks or do not.
func TestUTF8InLongText(t *testing.T) {
	for _, row := range texts {
		for _, before := range []string{"a", "κ", "€", "a€", "aaaaaaaaaaaaaaaκ"} {
			for n := range 80 {
				start := string([]rune(strings.Repeat(before, n))[:n])
				b := start + row.bytes + strings.Repeat("a", n*7%80)
				good, whole := oracleText([]byte(b))
				if standard := utf8.ValidString(b); standard != (good == len(b) && whole) {
					t.Fatalf("%q: the oracle disagrees with the standard library", b)
				}
				for _, step := range []int{len(b), 8, 31, 32, 33, 64, 65} {
					var cuts []int
					for cut := step; cut < len(b); cut += step {
						cuts = append(cuts, cut)
					}
					from, to, complete := feed(b, cuts...)
					if good == len(b) && (from != -1 || complete != whole) || good < len(b) && (good < from || good >= to) {
						t.Fatalf("%q in pieces of %d: piece %d-%d refused, complete %v; oracle: %d good, complete %v", b, step, from, to, complete, good, whole)
					}
				}
			}
		}
	}
}

// After a wrong byte nothing makes a text right again.
func TestUTF8StaysWrong(t *testing.T) {
	for _, after := range []string{"", "a", "\xac", "κόσμε", strings.Repeat("a", 100)} {
		var u UTF8
		if u.Valid([]byte("\xe2\x28")) || u.Valid([]byte(after)) || u.Complete() {
			t.Errorf("right again after %q", after)
		}
		if u.Reset(); !u.Valid([]byte(after)[:0]) || !u.Complete() {
			t.Error("Reset did not forget the wrong byte")
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
	for i, row := range texts {
		f.Add([]byte(strings.Repeat("a€", i)+row.bytes+strings.Repeat("κ", i)+strings.Repeat("a", 40)), uint64(i))
	}
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		good, whole := oracleText(b)
		if standard := utf8.Valid(b); standard != (good == len(b) && whole) {
			t.Fatalf("%q: standard library %v; oracle: %d good, complete %v", b, standard, good, whole)
		}
		var u UTF8
		r := rand.New(rand.NewPCG(seed, 0))
		for from := 0; from < len(b); {
			to := min(from+r.IntN(6<<r.IntN(6)), len(b)) // empty pieces too
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
