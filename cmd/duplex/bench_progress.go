package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/duplexgo/duplex/internal/load"
)

// A progressLine shows a person at a terminal how far a run is. Elsewhere it shows
// nothing.
type progressLine struct {
	out   io.Writer // nil: nobody looks
	shown bool
}

func newProgressLine(out io.Writer) *progressLine {
	if !isTerminal(out) {
		return new(progressLine)
	}
	return &progressLine{out: out}
}

func (p *progressLine) update(at load.Progress) {
	if p.out != nil {
		fmt.Fprintf(p.out, "\r\x1b[K%s", progressText(at))
		p.shown = true
	}
}

func (p *progressLine) clear() {
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// progressText is under 80 columns with up to a billion messages.
func progressText(at load.Progress) string {
	const width = 20
	full := int(at.Done * width)
	text := fmt.Sprintf("[%s%s] %s, %d of %d open", strings.Repeat("#", full), strings.Repeat(" ", width-full), at.Stage, at.Open, at.Wanted)
	if at.Failed > 0 {
		text += fmt.Sprintf(", %d failed", at.Failed)
	}
	if at.Received > 0 {
		text += fmt.Sprintf(", %s messages", grouped(at.Received))
	}
	return text
}
