package protocol

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestCommands(t *testing.T) {
	type got struct {
		Command
		fault string
	}
	for _, test := range []struct {
		name, text string
		want       []got
	}{
		{"one", `{"id":1,"command":"subscribe","channel":"a","since":"x.1"}`,
			[]got{{Command: Command{ID: 1, Command: Subscribe, Channel: "a", Since: "x.1"}}}},
		{"several, as lines, side by side and over lines", "{\"id\":1}\n{\"id\":2}{\n\"id\":\n3} \r\n",
			[]got{{Command: Command{ID: 1}}, {Command: Command{ID: 2}}, {Command: Command{ID: 3}}}},
		{"unknown fields are ignored", `{"id":7,"command":"publish","colour":{"red":[1]},"data":null}`,
			[]got{{Command: Command{ID: 7, Command: Publish, Data: json.RawMessage("null")}}}},
		{"the largest id", `{"id":9007199254740991}`, []got{{Command: Command{ID: MaxID}}}},
		{"an id too large", `{"id":9007199254740992}`, []got{{fault: "a command needs an id"}}},
		{"an id far too large", `{"id":1e30}`, []got{{fault: "id must be a whole number, not a JSON number 1e30"}}},
		{"no id", `{"command":"publish"}`, []got{{Command: Command{Command: Publish}, fault: "a command needs an id"}}},
		{"an id of zero", `{"id":0}`, []got{{fault: "a command needs an id"}}},
		{"a negative id and a wrong type", `{"id":-1,"channel":3}`, []got{{fault: "channel must be a string, not a JSON number"}}},
		{"an id as a string", `{"id":"1"} {"id":2}`,
			[]got{{fault: "id must be a whole number, not a JSON string"}, {Command: Command{ID: 2}}}},
		{"a wrong type after the id", `{"id":4,"channel":["a"]}`,
			[]got{{Command: Command{ID: 4}, fault: "channel must be a string, not a JSON array"}}},
		{"a number that is not whole", `{"id":4,"history":1.5}`,
			[]got{{Command: Command{ID: 4}, fault: "history must be a whole number, not a JSON number 1.5"}}},
		{"an array", `[1] {"id":2}`,
			[]got{{fault: "a command is a JSON object, not a JSON array"}, {Command: Command{ID: 2}}}},
		{"null", `null`, []got{{fault: "a command needs an id"}}},
		{"empty", "", []got{{fault: "text without a command"}}},
		{"blank", " \n ", []got{{fault: "text without a command"}}},
		{"not JSON", `subscribe a`, []got{{fault: "not JSON: invalid character 's'"}}},
		{"cut off", `{"id":1} {"id":2,`, []got{{Command: Command{ID: 1}}, {fault: "not JSON: unexpected EOF"}}},
		{"not JSON ends the text", `{"id":1} x {"id":2}`, []got{{Command: Command{ID: 1}}, {fault: "not JSON"}}},
		{"too deep", strings.Repeat("[", 20000), []got{{fault: "not JSON: invalid character '[' exceeded max depth"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			i := 0
			for c, err := range Commands([]byte(test.text)) {
				if i >= len(test.want) {
					t.Fatalf("more than %d commands: %+v, %v", len(test.want), c, err)
				}
				want := test.want[i]
				if !reflect.DeepEqual(c, want.Command) {
					t.Errorf("command %d is %+v, want %+v", i, c, want.Command)
				}
				switch {
				case err == nil && want.fault != "", err != nil && want.fault == "":
					t.Errorf("command %d: error %v, want %q", i, err, want.fault)
				case err != nil && (err.Code != BadCommand || !strings.HasPrefix(err.Message, want.fault)):
					t.Errorf("command %d: error %v, want %q", i, err, want.fault)
				}
				i++
			}
			if i != len(test.want) {
				t.Errorf("%d commands, want %d", i, len(test.want))
			}
		})
	}
}

func TestCommandsCanBeLeft(t *testing.T) {
	for _, text := range []string{`{"id":1}{"id":2}`, `[] {"id":2}`, `x`, ``} {
		n := 0
		for range Commands([]byte(text)) {
			n++
			break
		}
		if n != 1 {
			t.Errorf("%q: %d commands before the break", text, n)
		}
	}
}

func TestItems(t *testing.T) {
	at := time.Date(2031, 5, 6, 7, 8, 9, 123456789, time.FixedZone("", 3600))
	var text []byte
	text = append(Reply{ID: 3, Result: &Result{Position: "e.1"}}.Append(text), '\n')
	text = append(Reply{Error: &Error{BadData, "no <data>"}}.Append(text), '\n')
	text = append(Reset{"a b", TooOld, "e.4"}.Append(text), '\n')
	text = Message{"a\"b", "e.5", json.RawMessage(`{"x":[1,2]}`), at}.Append(text)

	var items []Item
	for item, err := range Items(text) {
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, item)
	}
	if len(items) != 4 {
		t.Fatalf("%d items in %s", len(items), text)
	}
	if i := items[0]; !i.IsReply() || i.IsMessage() || i.ID != 3 || i.Result.Position != "e.1" {
		t.Errorf("reply is %+v", i)
	}
	if i := items[1]; !i.IsReply() || i.ID != 0 || *i.Error != (Error{BadData, "no <data>"}) {
		t.Errorf("error is %+v", i)
	}
	if i := items[2]; i.IsReply() || i.IsMessage() || *i.Reset != (Reset{"a b", TooOld, "e.4"}) {
		t.Errorf("reset is %+v", i)
	}
	i := items[3]
	if i.IsReply() || !i.IsMessage() || i.Channel != `a"b` || i.Message.Position != "e.5" || string(i.Data) != `{"x":[1,2]}` {
		t.Errorf("message is %+v", i)
	}
	if want := at.Truncate(time.Millisecond); !i.Time.Equal(want) {
		t.Errorf("time is %v, want %v", i.Time, want)
	}
}

func TestItemsFault(t *testing.T) {
	var errs []error
	for _, err := range Items([]byte(`{"id":1,"result":{}} {"id":`)) {
		errs = append(errs, err)
	}
	if len(errs) != 2 || errs[0] != nil || errs[1] == nil {
		t.Errorf("errors are %v, want none and then one", errs)
	}
}

// The line of a message is what everybody parses: its bytes are the contract.
func TestMessageAppend(t *testing.T) {
	m := Message{"news", "e.1", json.RawMessage(`"hi"`), time.UnixMilli(1_000_000_000_000)}
	const want = `{"channel":"news","position":"e.1","data":"hi","time":"2001-09-09T01:46:40.000Z"}`
	if got := string(m.Append([]byte("x")[:0])); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestReconnect(t *testing.T) {
	for code, want := range map[int]bool{
		1000: false, 1001: true, 1002: false, 1003: false, 1005: true, 1006: true, 1007: false, 1008: false, 1009: false, 1010: false,
		1011: true, 1012: true, 1013: true, 1014: true, 1015: true, 3000: true,
		4000: false, 4499: false, 4500: true, 4999: true,
	} {
		if Reconnect(code) != want {
			t.Errorf("Reconnect(%d) is %v", code, !want)
		}
	}
}

func TestCodes(t *testing.T) {
	for _, c := range []Code{BadCommand, UnknownCommand, BadChannel, BadPosition, BadData, DataTooBig, Subscribed, NotSubscribed, TooManySubscriptions} {
		if c.Temporary() {
			t.Errorf("%d is temporary", c)
		}
	}
	for _, c := range []Code{Internal, TooManyCommands, TooManyChannels, ShuttingDown} {
		if !c.Temporary() {
			t.Errorf("%d is not temporary", c)
		}
	}
	var err error = &Error{BadChannel, "no"}
	if !errors.Is(err, &Error{Code: BadChannel}) || errors.Is(err, &Error{Code: BadData}) || errors.Is(err, errors.ErrUnsupported) {
		t.Error("Is compares something else than the code")
	}
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "a\"b\\c", "\x00\x1f\x7f\n\r\t\b", "grüße, 世界 \U0001F642", "\xff", "a\xc3", "\u2028<&>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		line := AppendString(nil, s)
		var got string
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%q becomes %s: %v", s, line, err)
		}
		if want := strings.ToValidUTF8(eachByte(s), "\uFFFD"); got != want {
			t.Errorf("%q comes back as %q, want %q", s, got, want)
		}
		if !utf8.Valid(line) || strings.ContainsAny(string(line), "\n\r") {
			t.Errorf("%q becomes %q, which is no line of UTF-8", s, line)
		}
	})
}

// eachByte returns s with U+FFFD for each single byte that is not UTF-8.
// (strings.ToValidUTF8 alone takes a run of them as one.)
func eachByte(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteRune(r)
	}
	return b.String()
}

func FuzzCommands(f *testing.F) {
	f.Add([]byte(`{"id":1,"command":"publish","channel":"a","data":{"x":1}} {"id":2}`))
	f.Add([]byte(`{"id":"1"} [] x`))
	f.Fuzz(func(t *testing.T, text []byte) {
		for c, err := range Commands(text) {
			if err != nil && err.Code != BadCommand {
				t.Errorf("code %d", err.Code)
			}
			if c.ID < 0 || c.ID > MaxID || c.ID == 0 && err == nil {
				t.Errorf("id %d without an error", c.ID)
			}
			if c.Data != nil && !json.Valid(c.Data) {
				t.Errorf("data %q is not JSON", c.Data)
			}
		}
	})
}
