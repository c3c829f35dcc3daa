package wire

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

var sizes = []int{4, 16, 125, 1 << 10, 16 << 10, 64 << 10, 1 << 20}

func bySize(b *testing.B, run func(b *testing.B, size int)) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			run(b, size)
		})
	}
}

// BenchmarkMask masks where a payload lies behind its header: not at a multiple
// of eight.
func BenchmarkMask(b *testing.B) {
	bySize(b, func(b *testing.B, size int) {
		p, key := make([]byte, 6+size)[6:], uint32(testKey)
		for b.Loop() {
			key = Mask(p, key)
		}
	})
}

// words of texts: characters of one, two, three and four bytes alternate in them
// as they do in what people write.
var words = []struct{ name, words string }{
	{"ASCII", "the quick brown fox jumps over 13 lazy dogs"},
	{"JSON", `{"id":18273, "user":"alice", "text":"see you at the station", "city":"Zürich", "read":false, "likes":3},`},
	{"French", "les élèves étaient déjà à l'école où leur maître préféré lisait"},
	{"Russian", "съешь же ещё этих мягких французских булок, да выпей чаю"},
	{"Chinese", "人人生而自由， 在尊严和权利上 一律平等。 他们赋有 理性和良心"},
	{"Emoji", "😀😃😄 😁😆😅🤣 😂🙂 🙃😉😊😇🥰"},
}

// prose returns a text of size bytes, its words in no order that could be learned.
func prose(words string, size int) []byte {
	all := strings.Fields(words)
	r := rand.New(rand.NewPCG(9, 10))
	p := make([]byte, 0, size+100)
	for len(p) < size {
		p = append(append(p, all[r.IntN(len(all))]...), ' ')
	}
	p = p[:size]
	for end := size; !utf8.Valid(p); end-- {
		p[end-1] = '.'
	}
	return p
}

func BenchmarkUTF8(b *testing.B) {
	for _, text := range words {
		b.Run(text.name, func(b *testing.B) {
			bySize(b, func(b *testing.B, size int) {
				p := prose(text.words, size)
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
