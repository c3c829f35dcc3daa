package main

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 100)
	for _, test := range []struct {
		name, text string
		want       []string
		err        error
	}{
		{"nothing", "", nil, io.EOF},
		{"one line", "a\n", []string{"a"}, io.EOF},
		{"the last without its end", "a\nb", []string{"a", "b"}, io.EOF},
		{"empty lines are lines", "\n\na\n\n", []string{"", "", "a", ""}, io.EOF},
		{"CR LF", "a\r\n\r\nb\r\n", []string{"a", "", "b"}, io.EOF},
		{"a CR alone is text", "a\rb\rc\r\r\nd\r", []string{"a\rb\rc\r", "d\r"}, io.EOF},
		{"as long as allowed", long + "\n" + long + "\r\n" + long, []string{long, long, long}, io.EOF},
		{"a byte over", "a\n" + long + "x\nb\n", []string{"a"}, errLineTooLong},
		{"a byte over at the end", long + "x", nil, errLineTooLong},
		{"a CR over", long + "\r", nil, errLineTooLong},
		{"without end", strings.Repeat("x", 1<<20), nil, errLineTooLong},
	} {
		for name, reader := range map[string]io.Reader{
			"whole":      strings.NewReader(test.text),
			"byte-wise":  iotest.OneByteReader(strings.NewReader(test.text)),
			"with error": iotest.DataErrReader(strings.NewReader(test.text)),
		} {
			// A buffer shorter than a line: lines are put together from parts.
			l := lines{r: bufio.NewReaderSize(reader, 16), max: 100}
			var got []string
			line, err := l.next()
			for ; err == nil; line, err = l.next() {
				got = append(got, string(line))
			}
			if !slices.Equal(got, test.want) || err != test.err {
				t.Errorf("%s, %s: %q and %v, want %q and %v", test.name, name, got, err, test.want, test.err)
			}
		}
	}
}

func TestLinesTellOfABrokenInput(t *testing.T) {
	broken := errors.New("broken")
	l := lines{r: bufio.NewReader(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken))), max: 10}
	if line, err := l.next(); string(line) != "a" || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	if line, err := l.next(); line != nil || err != broken {
		t.Errorf("%q, %v; want the input's error and no line that may be cut", line, err)
	}
}
