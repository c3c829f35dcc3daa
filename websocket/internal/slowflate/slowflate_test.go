package slowflate

import (
	"bytes"
	"compress/flate"
	"strings"
	"testing"
)

func TestInflate(t *testing.T) {
	before := []byte(strings.Repeat("abcdefghijklmnopqrstuvwxyz", 40))[:1000]
	text := append([]byte(strings.Repeat("x", 700)), before[:100]...)
	for level := flate.HuffmanOnly; level <= 9; level++ {
		var packed bytes.Buffer
		w, _ := flate.NewWriterDict(&packed, level, before)
		w.Write(text)
		w.Flush()
		got, err := Inflate(packed.Bytes(), before, 1<<15)
		if err != nil || !bytes.Equal(got, text) {
			t.Errorf("level %d: %q, %v", level, got, err)
		}
	}
}

// The check that this package is there for must not let anything pass.
func TestInflateChecksDistances(t *testing.T) {
	text := "a phrase that comes twice" + strings.Repeat(".", 300) + "a phrase that comes twice"
	var packed bytes.Buffer
	w, _ := flate.NewWriter(&packed, 9)
	w.Write([]byte(text))
	w.Flush()
	for _, size := range []int{256, 324, 325, 512} {
		if _, err := Inflate(packed.Bytes(), nil, size); (err == nil) != (size >= 325) {
			t.Errorf("a distance of 325 in a window of %d: %v", size, err)
		}
	}
}
