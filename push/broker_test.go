package push

import (
	"encoding/json"
	"math"
	"testing"
)

func TestPositionText(t *testing.T) {
	for _, p := range []Position{
		{},
		{epoch: 1},
		{epoch: 1, seq: 1},
		{epoch: math.MaxUint64, seq: math.MaxUint64},
		{class: "chat", epoch: 35, seq: 36},
		{class: "0-a", epoch: 1 << 48, seq: 12345},
	} {
		text := p.String()
		var q Position
		if err := q.UnmarshalText([]byte(text)); err != nil || q != p {
			t.Errorf("%+v is written %q and read as %+v, %v", p, text, q, err)
		}
	}
	longest := Position{class: "abcdefghijklmnopqrstuvwxyz012345", epoch: math.MaxUint64, seq: math.MaxUint64}
	if n := len(longest.String()); n != 60 {
		t.Errorf("the longest position has %d bytes, the documentation says 60", n)
	}
}

func TestPositionGarbage(t *testing.T) {
	for _, text := range []string{
		"x", ".", "..", "...", "1.", ".1", "1.1.", ".1.1", "1.2.3.4", "01.1", "1.01", "+1.1", "1.+1", "-1.1", "1.-1", "A.1", "1.A",
		"1_0.1", "0.0", "1.1 ", " 1.1", "1,1", "Chat.1.1", "a_b.1.1", "1.1\n", "1.1\x00", "\xff.1", "é.1.1",
		"3w5e11264sgsg.1", // 2^64
		"abcdefghijklmnopqrstuvwxyz0123456.1.1",
	} {
		p := Position{epoch: 7}
		if err := p.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is read as %+v", text, p)
		} else if p != (Position{epoch: 7}) {
			t.Errorf("%q is refused, but changes the position to %+v", text, p)
		}
	}
}

func TestPositionJSON(t *testing.T) {
	in := struct{ P, None Position }{P: Position{epoch: 36, seq: 2}}
	b, err := json.Marshal(in)
	if err != nil || string(b) != `{"P":"10.2","None":""}` {
		t.Fatalf("%s, %v", b, err)
	}
	out := in
	out.P = Position{}
	if err := json.Unmarshal(b, &out); err != nil || out != in {
		t.Errorf("%+v comes back as %+v, %v", in, out, err)
	}
}

func FuzzPosition(f *testing.F) {
	f.Add("k3f9a1bz2c.1a")
	f.Add("chat.k3f9a1bz2c.1a")
	f.Fuzz(func(t *testing.T, text string) {
		var p Position
		if p.UnmarshalText([]byte(text)) == nil && p.String() != text {
			t.Errorf("%q is read as %+v, which is written %q", text, p, p)
		}
	})
}
