package handshake

import (
	"net/http"
	"reflect"
	"testing"
)

func TestExtensions(t *testing.T) {
	for _, test := range []struct {
		lines []string
		want  []Extension
		err   string
	}{
		{nil, nil, ""},
		{[]string{""}, nil, ""},
		{[]string{" , ,\t"}, nil, ""},
		{[]string{"a"}, []Extension{{Name: "a"}}, ""},
		{[]string{"a, b", ",c ;x"}, []Extension{{Name: "a"}, {Name: "b"}, {"c", []Param{{"x", ""}}}}, ""},
		{[]string{"a; x = 1 ;y;x=2,a"}, []Extension{{"a", []Param{{"x", "1"}, {"y", ""}, {"x", "2"}}}, {Name: "a"}}, ""},
		{[]string{`a; x="12"; y="b\c"`}, []Extension{{"a", []Param{{"x", "12"}, {"y", "bc"}}}}, ""},
		{[]string{"permessage-deflate; client_max_window_bits; server_max_window_bits=10"},
			[]Extension{{"permessage-deflate", []Param{{"client_max_window_bits", ""}, {"server_max_window_bits", "10"}}}}, ""},
		{[]string{";x"}, nil, "without a name"},
		{[]string{"a;"}, nil, "without a parameter"},
		{[]string{"a; =1"}, nil, "without a parameter"},
		{[]string{"a; x="}, nil, "not a token"},
		{[]string{`a; x=""`}, nil, "not a token"},
		{[]string{`a; x="1`}, nil, "not a token"},
		{[]string{`a; x="1 2"`}, nil, "not a token"},
		{[]string{`a; x="1\`}, nil, "not a token"},
		{[]string{"a b"}, nil, "neither a semicolon nor a comma"},
		{[]string{"a; x=1 2"}, nil, "neither a semicolon nor a comma"},
		{[]string{"a", "b c"}, nil, "neither a semicolon nor a comma"},
		{[]string{"ä"}, nil, "without a name"},
	} {
		got, err := Extensions(http.Header{"Sec-Websocket-Extensions": test.lines})
		checkError(t, err, test.err, test.lines)
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q: got %v, want %v", test.lines, got, test.want)
		}
	}
}

// FuzzExtensions writes what was read, and reads it again.
func FuzzExtensions(f *testing.F) {
	f.Add("permessage-deflate; client_max_window_bits, permessage-deflate", `a; x="1\2"`)
	f.Add("a;b=c", ",")
	f.Fuzz(func(t *testing.T, a, b string) {
		list, err := Extensions(http.Header{"Sec-Websocket-Extensions": {a, b}})
		if err != nil {
			if list != nil {
				t.Error("a list beside an error")
			}
			return
		}
		var line []byte
		for _, e := range list {
			if !IsToken(e.Name) {
				t.Errorf("the name %q", e.Name)
			}
			for _, p := range e.Params {
				if !IsToken(p.Name) || p.Value != "" && !IsToken(p.Value) {
					t.Errorf("the parameter %q", p)
				}
			}
			line = AppendExtension(line, e)
		}
		again, err := Extensions(http.Header{"Sec-Websocket-Extensions": {string(line)}})
		if err != nil || !reflect.DeepEqual(again, list) {
			t.Errorf("%v is written %q and read as %v, %v", list, line, again, err)
		}
	})
}
