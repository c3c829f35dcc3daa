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

// progressWidth is less than the columns of a usual terminal: a line that wraps could
// not be written over.
const progressWidth = 79

// progressText is a bar and, as far as there is room, figures, the most important
// first.
func progressText(at load.Progress) string {
	const width = 20
	full := int(at.Done * width)
	text := fmt.Sprintf("[%s%s] %s, %s of %s open", strings.Repeat("#", full), strings.Repeat(" ", width-full), at.Stage, grouped(at.Open), grouped(at.Wanted))
	var more []string
	if at.Failed > 0 {
		more = append(more, grouped(at.Failed)+" failed")
	}
	if at.Received > 0 {
		more = append(more, grouped(at.Received)+" messages")
	}
	for _, figure := range more {
		if len(text)+len(", ")+len(figure) > progressWidth {
			break
		}
		text += ", " + figure
	}
	return text
}
