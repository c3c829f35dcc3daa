package push

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/push/protocol"
)

// A block is a fenced block of docs/protocol.md.
type block struct{ language, text string }

// blocks returns the blocks of some languages, in their order.
func blocks(t *testing.T, languages ...string) (all []block) {
	t.Helper()
	doc, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(doc), "\n```")
	for i := 1; i < len(parts); i += 2 { // between them is text
		language, text, _ := strings.Cut(parts[i], "\n")
		if slices.Contains(languages, language) {
			all = append(all, block{language, text})
		}
	}
	if len(all) < 2 {
		t.Fatalf("the protocol has no blocks of %q", languages)
	}
	return all
}

// names are what the document's P1, P2 stand for. T is any time.
type names map[string]string

var name = regexp.MustCompile(`"P\d"`)

// real puts what is known into a text of the document.
func (n names) real(text string) string {
	return name.ReplaceAllStringFunc(text, func(s string) string { return fmt.Sprintf("%q", n[strings.Trim(s, `"`)]) })
}

// match compares a JSON text with one of the document and learns names from it.
func (n names) match(t *testing.T, got, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("the document has %s: %v", want, err)
	}
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Fatalf("the server sends %s: %v", got, err)
	}
	if !reflect.DeepEqual(g, n.learn(w, g)) {
		t.Errorf("got  %s\nwant %s", got, n.real(want))
	}
}

// learn returns want with the real value for each name.
func (n names) learn(want, got any) any {
	switch want := want.(type) {
	case map[string]any:
		g, _ := got.(map[string]any)
		for key, value := range want {
			if want[key] = n.learn(value, g[key]); key == "bytes" { // positions are of various lengths
				want[key] = g[key]
			}
		}
	case []any:
		g, _ := got.([]any)
		for i := range min(len(want), len(g)) {
			want[i] = n.learn(want[i], g[i])
		}
	case string:
		g, _ := got.(string)
		if want == "T" {
			return g
		}
		if name.MatchString(`"` + want + `"`) {
			if n[want] == "" {
				n[want] = g
			}
			return n[want]
		}
	}
	return want
}

var published = regexp.MustCompile(`("\w+") to (\w+)`)

func TestSessionsOfTheDocument(t *testing.T) {
	for i, block := range blocks(t, "session") {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			inMemory(t, new(Server), func(t *testing.T, s *site) {
				known, line := make(names), s.dial()
				var other *tab
				var rest []string // of the last text
				for _, step := range strings.Split(strings.TrimSpace(block.text), "\n") {
					switch text := step[2:]; step[:2] {
					case "> ":
						line.send("%s", known.real(text))
					case "< ":
						if len(rest) == 0 {
							rest = strings.Split(line.read(), "\n")
						}
						known.match(t, rest[0], text)
						rest = rest[1:]
					case "! ":
						line.CloseNow()
						line = s.dial()
						for _, m := range published.FindAllStringSubmatch(text, -1) {
							s.post(m[2], m[1])
						}
					case "+ ":
						other = s.dial()
						other.send("%s", strings.TrimPrefix(text, "another line: "))
					case "- ":
						other.CloseNow()
					default:
						t.Errorf("what is %q?", step)
					}
				}
				if len(rest) > 0 {
					t.Errorf("the server has sent more: %q", rest)
				}
				line.CloseNow()
			})
		})
	}
}

// unquoted are the names where they are not JSON: in queries and ids.
var unquoted = regexp.MustCompile(`([=:] ?)(P\d)`)

func TestRequestsOfTheDocument(t *testing.T) {
	inMemory(t, new(Server), func(t *testing.T, s *site) {
		known := make(names)
		for _, block := range blocks(t, "http", "events") {
			head, rest, _ := strings.Cut(block.text, "\n\n")
			head = unquoted.ReplaceAllStringFunc(head, func(s string) string { return s[:1] + known[s[1:]] })
			lines := strings.Split(head, "\n")
			var body string
			if strings.Contains(head, "\nContent-Type: ") {
				body, rest, _ = strings.Cut(rest, "\n\n")
			}
			status, answer, _ := strings.Cut(strings.TrimSpace(rest), "\n")
			resp := s.request(lines[0], body, lines[1:]...)
			if fmt.Sprint(resp.StatusCode) != status {
				got, _ := io.ReadAll(resp.Body)
				t.Fatalf("%s: status %d, want %s: %s", lines[0], resp.StatusCode, status, got)
			}
			if block.language == "events" {
				known.matchEvents(t, resp.Body, answer)
			} else {
				got, _ := io.ReadAll(resp.Body)
				known.match(t, string(got), answer)
			}
			resp.Body.Close()
			synctest.Wait() // until the server knows that the reader has gone
		}
	})
}

// request sends a request whose first line is the method and the path. The answer may
// take a minute or two.
func (s *site) request(line, body string, header ...string) *http.Response {
	s.t.Helper()
	method, path, _ := strings.Cut(line, " ")
	ctx, cancel := context.WithTimeout(s.t.Context(), 100*time.Second)
	s.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, "http://server.test"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	resp, err := s.web.Client().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp
}

// matchEvents compares the beginning of a stream of events with a text of the
// document, line by line.
func (n names) matchEvents(t *testing.T, stream io.Reader, want string) {
	t.Helper()
	lines := bufio.NewScanner(stream)
	for line := range strings.SplitSeq(strings.TrimSpace(want), "\n") {
		if !lines.Scan() {
			t.Fatalf("the stream ends before %q: %v", line, lines.Err())
		}
		field, value, _ := strings.Cut(line, ": ")
		gotField, got, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case field != gotField:
			t.Fatalf("got  %s\nwant %s", lines.Text(), line)
		case field == "data":
			n.match(t, got, value)
		case field == "id":
			n.match(t, strconv.Quote(got), strconv.Quote(value))
		case field == "retry":
			if ms, err := strconv.Atoi(got); err != nil || ms < minRetry || ms > maxRetry {
				t.Errorf("got %s", lines.Text())
			}
		case got != value:
			t.Errorf("got  %s\nwant %s", lines.Text(), line)
		}
	}
}

// The codes in the document are those of the program, and say the same of them.
func TestCodesOfTheDocument(t *testing.T) {
	doc, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	section := func(title string) string {
		_, s, _ := strings.Cut(string(doc), "\n## "+title+"\n")
		s, _, _ = strings.Cut(s, "\n## ")
		return s
	}
	for _, c := range []protocol.Code{
		protocol.BadCommand, protocol.UnknownCommand, protocol.BadChannel, protocol.BadPosition, protocol.BadData, protocol.DataTooBig,
		protocol.Subscribed, protocol.NotSubscribed, protocol.TooManySubscriptions,
		protocol.Internal, protocol.TooManyCommands, protocol.TooManyChannels, protocol.ShuttingDown,
	} {
		if !strings.Contains(section("Errors"), fmt.Sprintf("\n| %d | ", c)) {
			t.Errorf("the document does not tell of error %d", c)
		}
	}
	ends := regexp.MustCompile(`(?m)^\| ([\d, to]+) \|.*\| (yes|no) \|$`).FindAllStringSubmatch(section("The end of a line"), -1)
	if len(ends) < 9 {
		t.Fatalf("only %d rows tell of ends", len(ends))
	}
	for _, row := range ends {
		for _, codes := range strings.Split(row[1], ", ") {
			var from, to int
			if n, _ := fmt.Sscanf(codes, "%d to %d", &from, &to); n < 2 {
				to = from
			}
			for code := from; code <= to; code++ {
				if protocol.Reconnect(code) != (row[2] == "yes") {
					t.Errorf("close code %d: the document says %s", code, row[2])
				}
			}
		}
	}
}
