package wire

import (
	"fmt"
	"strings"
	"testing"
)

var sizes = []int{16, 128, 1 << 10, 16 << 10, 1 << 20}

func bySize(b *testing.B, run func(b *testing.B, size int)) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			run(b, size)
		})
	}
}

func BenchmarkMask(b *testing.B) {
	bySize(b, func(b *testing.B, size int) {
		p, key := make([]byte, size), uint32(testKey)
		for b.Loop() {
			key = Mask(p, key)
		}
	})
}

func BenchmarkUTF8(b *testing.B) {
	for _, text := range []struct{ name, character string }{{"ASCII", "a"}, {"Greek", "κ"}, {"Emoji", "😀"}} {
		b.Run(text.name, func(b *testing.B) {
			bySize(b, func(b *testing.B, size int) {
				p := []byte(strings.Repeat(text.character, size/len(text.character)))
				for b.Loop() {
					var u UTF8
					if !u.Valid(p) || !u.Complete() {
						b.Fatal("not a text")
					}
				}
			})
		})
	}
}

func BenchmarkParseHeader(b *testing.B) {
	for _, length := range []int64{16, 1 << 10, 1 << 20} {
		h := Header{Fin: true, Opcode: OpText, Masked: true, Key: testKey, Length: length}
		p := h.Append(nil)
		b.Run(fmt.Sprintf("%dB", len(p)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := ParseHeader(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	h := Header{Fin: true, Opcode: OpText, Masked: true, Key: testKey, Length: 1 << 10}
	p := make([]byte, 0, MaxHeader)
	b.ReportAllocs()
	for b.Loop() {
		p = h.Append(p[:0])
	}
}

// BenchmarkDecoder is what a server does with each frame of text.
func BenchmarkDecoder(b *testing.B) {
	bySize(b, func(b *testing.B, size int) {
		d := Decoder{Server: true, MaxMessage: 1 << 20, MaxFrame: 1 << 20}
		h := Header{Fin: true, Opcode: OpText, Masked: true, Length: int64(size)} // a zero key leaves the text as it is
		p := []byte(strings.Repeat("a", size))
		for b.Loop() {
			if d.Frame(h) != nil || d.Payload(p) != nil {
				b.Fatal("refused")
			}
		}
	})
}
