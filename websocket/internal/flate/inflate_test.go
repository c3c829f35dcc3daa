package flate

import (
	"bytes"
	stdflate "compress/flate"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// tail is what a sender takes away from the end of a message. RFC 7692, 7.2.1.
const tail = "\x00\x00\xff\xff"

// inflate decompresses with input and output in pieces of these sizes.
func inflate(f *Inflater, src []byte, in, out int) ([]byte, error) {
	var all []byte
	dst := make([]byte, out)
	for len(src) > 0 {
		piece := src[:min(in, len(src))]
		src = src[len(piece):]
		for {
			n, m, err := f.Inflate(dst, piece)
			all = append(all, dst[:n]...)
			piece = piece[m:]
			if err != nil {
				return all, err
			}
			if n < len(dst) {
				break
			}
		}
		if len(piece) > 0 {
			return all, fmt.Errorf("%d bytes were left over", len(piece))
		}
	}
	return all, nil
}

// deflated compresses with the standard library.
func deflated(level int, window, text []byte) []byte {
	var b bytes.Buffer
	w, _ := stdflate.NewWriterDict(&b, level, window)
	w.Write(text)
	w.Flush()
	return b.Bytes()
}

// texts are of the sorts that bring out each kind of block and of match.
func texts() map[string][]byte {
	rng := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 100_000)
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	skewed := make([]byte, 200_000)
	for i := range skewed {
		skewed[i] = byte(rng.ExpFloat64() * 8)
	}
	return map[string][]byte{
		"empty":   nil,
		"a byte":  []byte("a"),
		"short":   []byte("Hello"),
		"repeats": []byte(strings.Repeat("a", 100_000)),
		"words":   []byte(strings.Repeat("one two three four five six seven ", 5000)),
		"random":  random,
		"skewed":  skewed,
	}
}

func TestInflate(t *testing.T) {
	for name, text := range texts() {
		for level := stdflate.HuffmanOnly; level <= 9; level++ {
			if raceEnabled && level%3 != 0 { // nothing to find for it here
				continue
			}
			packed := deflated(level, nil, text)
			for _, sizes := range [][2]int{{1, 1}, {1, 70_000}, {7, 300}, {4096, 4096}, {1 << 20, 1 << 20}} {
				f := NewInflater(nil)
				got, err := inflate(f, packed, sizes[0], sizes[1])
				if err != nil || !bytes.Equal(got, text) {
					t.Fatalf("%s, level %d, pieces of %v: %d bytes, %v", name, level, sizes, len(got), err)
				}
				if !f.Clean() {
					t.Errorf("%s, level %d: not clean at the end", name, level)
				}
				if n := min(len(text), 5000); !bytes.Equal(f.Window(5000), text[len(text)-n:]) {
					t.Errorf("%s, level %d: another window than the text's end", name, level)
				}
				f.Release()
			}
		}
	}
}

// An Inflater can be suspended at every byte of its input and its output.
func TestSuspend(t *testing.T) {
	for name, text := range texts() {
		for _, level := range []int{stdflate.HuffmanOnly, 0, 1, 9} {
			packed := deflated(level, nil, text[:min(len(text), 5000)])
			s := NewInflater([]byte("a window")).Suspend()
			var got []byte
			dst := make([]byte, 100)
			for i := range packed {
				for piece := packed[i : i+1]; ; {
					f := s.Resume()
					n, m, err := f.Inflate(dst, piece)
					if err != nil {
						t.Fatalf("%s, level %d: %v", name, level, err)
					}
					got, piece = append(got, dst[:n]...), piece[m:]
					if s = f.Suspend(); n < len(dst) {
						break
					}
				}
			}
			if !bytes.Equal(got, text[:min(len(text), 5000)]) {
				t.Errorf("%s, level %d: %d bytes %.60q", name, level, len(got), got)
			}
		}
	}
}

func TestInflateBehindAWindow(t *testing.T) {
	window := bytes.Repeat([]byte("the quick brown fox "), 2000)[:maxWindow]
	text := append([]byte("jumps over "), window[:1000]...)
	f := NewInflater(window)
	defer f.Release()
	got, err := inflate(f, deflated(9, window, text), 3, 100)
	if err != nil || !bytes.Equal(got, text) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	f.Begin(window[len(window)-100:])
	if got, err := inflate(f, deflated(9, window, text), 1000, 10_000); err != ErrCorrupt {
		t.Errorf("with less of a window: %d bytes, %v", len(got), err)
	}
}

// What is wrong in each part of the format. The bytes are those of RFC 1951, 3.2.
func TestInflateCorrupt(t *testing.T) {
	for name, packed := range map[string]string{
		"block type 3":            "07",
		"stored length":           "00 05 00 00 00",
		"too many literals":       "fd ff ff ff ff ff",
		"a code that is too full": "05 e0 ff ff ff ff ff ff ff ff ff ff",
		"a code with a gap":       "05 00 92 00 00 00 00 00 00 00",
		"length code 286":         "1b 03 00 00 00 00",
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(packed, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		f := NewInflater(nil)
		got, err := inflate(f, append(b, make([]byte, 20)...), 1, 100)
		if _, want := io.ReadAll(stdflate.NewReader(bytes.NewReader(append(b, make([]byte, 20)...)))); want == io.ErrUnexpectedEOF || want == nil {
			t.Errorf("%s: the standard library finds nothing wrong: %v", name, want)
		}
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		f.Release()
	}
}

// RFC 7692, 7.2.3.
func TestInflateFinalBlocks(t *testing.T) {
	for name, test := range map[string]struct {
		packed, text string
		over         bool
	}{
		"7.2.3.4":          {"\xf3\x48\xcd\xc9\xc9\x07\x00\x00" + tail, "Hello", false},
		"no octet behind":  {"\xf3\x48\xcd\xc9\xc9\x07\x00", "Hello", true},
		"two final blocks": {"\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00" + tail, "HelloHello", false},
		"7.2.3.5":          {"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00" + tail, "Hello", false},
		"7.2.3.6":          {"\x00" + tail, "", false},
	} {
		f := NewInflater(nil)
		got, err := inflate(f, []byte(test.packed), 1, 3)
		if string(got) != test.text || err != nil || !f.Clean() || f.Over() != test.over {
			t.Errorf("%s: got %q, %v, clean %v, over %v", name, got, err, f.Clean(), f.Over())
		}
		f.Release()
	}
}

// FuzzInflate compares with the standard library: what it decompresses is the
// same, however input and output are cut, and what it refuses is refused.
func FuzzInflate(f *testing.F) {
	f.Add([]byte(""), []byte(""), 1, 1)
	f.Add([]byte("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), []byte("Hello"), 2, 1)
	for _, text := range texts() {
		for _, level := range []int{-2, 0, 1, 6, 9} {
			f.Add(deflated(level, nil, text[:min(len(text), 3000)]), []byte("one two"), 5, 9)
		}
	}
	f.Fuzz(func(t *testing.T, packed, window []byte, in, out int) {
		if len(window) > maxWindow || len(packed) > 1<<16 {
			t.Skip()
		}
		in, out = 1+(in&0xFFF), 1+(out&0x1FFFF)
		fl := NewInflater(window)
		defer fl.Release()
		got, err := inflate(fl, packed, in, out)

		var want []byte
		var wantErr error
		src := bytes.NewReader(packed)
		for known := bytes.Clone(window); wantErr == nil && src.Len() > 0; {
			known = known[max(0, len(known)-maxWindow):]
			var block []byte
			block, wantErr = io.ReadAll(io.LimitReader(stdflate.NewReaderDict(src, known), 64<<20))
			want = append(want, block...)
			known = append(known, block...)
		}
		corrupt := false
		if wantErr != nil && wantErr != io.ErrUnexpectedEOF {
			corrupt = true
		}
		if corrupt != (err != nil) {
			t.Fatalf("%v, the standard library %v", err, wantErr)
		}
		if n := min(len(got), len(want)); !bytes.Equal(got[:n], want[:n]) {
			t.Fatalf("got %q, the standard library %q", got, want)
		}
		if !corrupt && len(got) < len(want) {
			t.Fatalf("got %d bytes, the standard library %d", len(got), len(want))
		}
	})
}

func BenchmarkInflate(b *testing.B) {
	text := []byte(strings.Repeat(`{"id":12345,"user":"someone","text":"a message","ok":true},`, 20)[:1024])
	rng := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < len(text); i += 7 {
		text[i] = 'a' + byte(rng.IntN(26))
	}
	packed := deflated(6, nil, text)
	dst := make([]byte, 2048)
	for _, size := range []int{0, 4096, maxWindow} {
		b.Run(fmt.Sprint("window ", size), func(b *testing.B) {
			window := make([]byte, size)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				f := NewInflater(window)
				n, _, err := f.Inflate(dst, packed)
				if n != len(text) || err != nil {
					b.Fatal(n, err)
				}
				f.Release()
			}
		})
	}
	b.Run("standard library", func(b *testing.B) {
		r := stdflate.NewReader(nil)
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			r.(stdflate.Resetter).Reset(bytes.NewReader(packed), nil)
			io.ReadFull(r, dst[:len(text)])
		}
	})
}
