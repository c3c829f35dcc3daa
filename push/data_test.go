package push

import "testing"

func TestLoneSurrogate(t *testing.T) {
	cases := map[string]string{
		`"plain"`:                       "",
		`"\ud83d\ude00"`:                "",
		`"\ud83d\ude00\ud83d\ude00"`:    "",
		`"\\ud800"`:                     "", // a backslash and five letters
		`"\\\ud800"`:                    `\ud800`,
		`"\ud800"`:                      `\ud800`,
		`"\udc00"`:                      `\udc00`,
		`"\uDC00\uD800"`:                `\uDC00`,
		`{"a":"\n\u00e9","\ud83d":[1]}`: `\ud83d`,
		`"\ud83d\u0041"`:                `\ud83d`,
		`"\ud83dA"`:                     `\ud83d`,
	}
	for value, want := range cases {
		if got := loneSurrogate([]byte(value)); got != want {
			t.Errorf("%s: got %q, want %q", value, got, want)
		}
	}
}
