package main

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// A size is a number of bytes on the command line: 512, 64KiB, 16MB. The units
// KiB, MiB and GiB count by 1,024, the units KB, MB and GB by 1,000; their letter
// case does not matter. It is a pflag.Value.
type size int64

// units are those that a size may be written in, each before the ones that are
// its ending.
var units = []struct {
	name  string
	bytes int64
}{
	{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3},
	{"B", 1},
}

var (
	errSizeForm = errors.New("a size is a whole number of bytes with an optional unit, as in 512, 64KiB or 16MiB")
	errSizeZero = errors.New("a size is at least 1 byte")
	errSizeHuge = errors.New("a size is less than 8,388,608 TiB")
)

// Set reads a size as a user writes it.
func (s *size) Set(text string) error {
	number, unit := text, int64(1)
	for _, u := range units {
		if n := len(text) - len(u.name); n > 0 && strings.EqualFold(text[n:], u.name) {
			number, unit = strings.TrimSpace(text[:n]), u.bytes
			break
		}
	}
	if number == "" || strings.Trim(number, "0123456789") != "" {
		return errSizeForm
	}
	n, err := strconv.ParseInt(number, 10, 64)
	switch {
	case err != nil || n > math.MaxInt64/unit:
		return errSizeHuge
	case n == 0:
		return errSizeZero
	}
	*s = size(n * unit)
	return nil
}

// String writes the size in the largest unit of which it is a whole number.
func (s *size) String() string {
	n := int64(*s)
	for _, u := range units {
		if u.bytes > 1 && n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// Type is the name of the value in help texts.
func (s *size) Type() string { return "SIZE" }
