package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
)

// hooks note the last handshake and, with -v, show it and control frames.
func (c *connect) hooks() *websocket.Hooks {
	h := &websocket.Hooks{Handshake: func(h websocket.HandshakeInfo) {
		c.response = h.Response
		if c.verbose {
			c.showHandshake(h)
		}
	}}
	if c.verbose {
		h.Control = c.showControl
	}
	return h
}

// showHandshake shows a request and its answer.
func (c *connect) showHandshake(h websocket.HandshakeInfo) {
	r := h.Request
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	var b strings.Builder
	fmt.Fprintf(&b, "> %s %s HTTP/1.1\n> Host: %s\n", r.Method, visible(r.URL.RequestURI()), visible(host))
	writeHeader(&b, ">", r.Header)
	if h.Response != nil {
		fmt.Fprintf(&b, "< %s %s\n", h.Response.Proto, visible(h.Response.Status))
		writeHeader(&b, "<", h.Response.Header)
	}
	if h.Err == nil {
		fmt.Fprintf(&b, "* connected to %v after %v\n", h.Conn.RemoteAddr(), h.Took.Round(time.Microsecond))
	}
	c.stderr.Write([]byte(b.String()))
}

func writeHeader(b *strings.Builder, direction string, h http.Header) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			fmt.Fprintf(b, "%s %s: %s\n", direction, visible(name), visible(value))
		}
	}
}

// showControl shows a control frame that has come.
func (c *connect) showControl(conn *websocket.Conn, op wire.Opcode, payload []byte) {
	line := fmt.Sprintf("< %v, %d bytes", op, len(payload))
	switch op {
	case wire.OpClose:
		code, reason, err := wire.ParseClose(payload)
		if err == nil {
			line = fmt.Sprintf("< close %v %s", code, visible(reason))
		}
	case wire.OpPing:
		line += fmt.Sprintf(" %q, answered", payload)
	case wire.OpPong:
		line += fmt.Sprintf(", after %v", conn.RTT().Round(time.Microsecond))
	}
	fmt.Fprintln(c.stderr, strings.TrimRight(line, " "))
}

// indented returns JSON with line breaks and indents, and what is no JSON as it is.
func indented(p []byte) []byte {
	var b bytes.Buffer
	if json.Indent(&b, p, "", "  ") != nil {
		return p
	}
	return bytes.TrimSpace(b.Bytes())
}

// visibleLines is visible for a text whose line breaks are to be seen as such: those
// that indented has made, if it is JSON.
func visibleLines(text string) string {
	if !json.Valid([]byte(text)) {
		return visible(text)
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = visible(line)
	}
	return strings.Join(lines, "\n")
}
