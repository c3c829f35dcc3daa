package push

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/duplexgo/duplex/push/protocol"
)

// blocks returns the fenced blocks of a language in docs/protocol.md.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	doc, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, part := range strings.Split(string(doc), "```"+language+"\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		all = append(all, block)
	}
	if len(all) == 0 {
		t.Fatalf("the protocol has no blocks of %s", language)
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
			want[key] = n.learn(value, g[key])
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
				var rest []string // of the last text
				for _, step := range strings.Split(strings.TrimSpace(block), "\n") {
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

func TestRequestsOfTheDocument(t *testing.T) {
	s, known := new(Server), make(names)
	for _, block := range blocks(t, "http") {
		head, rest, _ := strings.Cut(block, "\n\n")
		lines := strings.Split(head, "\n")
		method, path, _ := strings.Cut(lines[0], " ")
		var body string
		if method == "POST" {
			body, rest, _ = strings.Cut(rest, "\n\n")
		}
		status, answer, _ := strings.Cut(strings.TrimSpace(rest), "\n")
		resp := do(t, s, method, path, body, lines[1:]...)
		got, _ := io.ReadAll(resp.Body)
		if fmt.Sprint(resp.StatusCode) != status {
			t.Fatalf("%s: status %d, want %s: %s", lines[0], resp.StatusCode, status, got)
		}
		known.match(t, string(got), answer)
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
				if protocol.Reconnect(code) != (row[2] == "yes") && code != protocol.CloseTooManyCommands {
					t.Errorf("close code %d: the document says %s", code, row[2])
				}
			}
		}
	}
}
