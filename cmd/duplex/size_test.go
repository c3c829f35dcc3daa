package main

import (
	"math"
	"testing"
)

func TestSize(t *testing.T) {
	for _, test := range []struct {
		text string
		want size
		back string
	}{
		{"1", 1, "1"},
		{"512", 512, "512"},
		{"7B", 7, "7"},
		{"64KiB", 65536, "64KiB"},
		{"64kib", 65536, "64KiB"},
		{"16MiB", 16 << 20, "16MiB"},
		{"16 MiB", 16 << 20, "16MiB"},
		{"2GiB", 2 << 30, "2GiB"},
		{"1KB", 1000, "1KB"},
		{"1500", 1500, "1500"},
		{"3MB", 3_000_000, "3MB"},
		{"3GB", 3_000_000_000, "3GB"},
		{"1048576", 1 << 20, "1MiB"},
		{"9223372036854775807", math.MaxInt64, "9223372036854775807"},
	} {
		var s size
		if err := s.Set(test.text); err != nil || s != test.want || s.String() != test.back {
			t.Errorf("%q is %d, written %q, error %v; want %d, %q", test.text, s, s.String(), err, test.want, test.back)
		}
	}
	for text, want := range map[string]error{
		"":                    errSizeForm,
		"MiB":                 errSizeForm,
		"B":                   errSizeForm,
		"-1":                  errSizeForm,
		"+1":                  errSizeForm,
		"1.5MiB":              errSizeForm,
		"1e6":                 errSizeForm,
		"0x10":                errSizeForm,
		"1TiB":                errSizeForm,
		"1MiBs":               errSizeForm,
		"1_000":               errSizeForm,
		"0":                   errSizeZero,
		"0MiB":                errSizeZero,
		"9223372036854775808": errSizeHuge,
		"8589934592GiB":       errSizeHuge,
	} {
		s := size(42)
		if err := s.Set(text); err != want || s != 42 {
			t.Errorf("%q: error %v and value %d, want %v and the old value", text, err, s, want)
		}
	}
}
