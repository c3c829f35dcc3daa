package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// errLineTooLong is the error of a lines whose next line is over its limit.
var errLineTooLong = errors.New("line too long")

// lines reads lines from standard input, each of at most max bytes.
type lines struct {
	r     *bufio.Reader
	max   int64
	count int // lines taken, the one that failed included
}

// next returns the next line without its end, which is LF or CR LF; the last
// line may lack it. The slice is the caller's. The error is io.EOF after the last
// line, errLineTooLong, or what reading returned.
func (l *lines) next() ([]byte, error) {
	var line []byte
	for {
		part, err := l.r.ReadSlice('\n')
		line = append(line, part...)
		// Room for the line end, which the limit does not count.
		if int64(len(line))-l.max > int64(len("\r\n")) {
			l.count++
			return nil, errLineTooLong
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == io.EOF && len(line) == 0:
			return nil, io.EOF
		case err != nil && err != io.EOF:
			return nil, err
		}
		break
	}
	l.count++
	if text, ended := bytes.CutSuffix(line, []byte("\n")); ended {
		line = bytes.TrimSuffix(text, []byte("\r"))
	}
	if int64(len(line)) > l.max {
		return nil, errLineTooLong
	}
	return line, nil
}
