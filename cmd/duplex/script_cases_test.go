package main

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/duplexgo/duplex/websocket/wire"
)

func messages(sizes ...int) (all []dialogue) {
	for _, size := range sizes {
		for _, op := range kinds {
			f := whole(op, message(op, size))
			all = append(all, dialogue{fmt.Sprintf("%v of %d bytes", op, size), "5.6", []frame{f}, []frame{f}})
		}
	}
	return all
}

func fragmented(size int, fragments ...int) (all []dialogue) {
	for _, n := range fragments {
		for _, op := range kinds {
			m := message(op, size)
			all = append(all, dialogue{fmt.Sprintf("%v of %d bytes in fragments of %d", op, size, n), "5.4", inFragments(op, m, n), []frame{whole(op, m)}})
		}
	}
	return all
}

func roundTrips(count int, sizes ...int) (all []dialogue) {
	for _, size := range sizes {
		for _, op := range kinds {
			frames := make([]frame, count)
			for i := range frames {
				frames[i] = whole(op, message(op, size))
				if size >= 16 {
					frames[i].payload = fmt.Sprintf("%016d", i) + frames[i].payload[16:]
				}
			}
			all = append(all, dialogue{fmt.Sprintf("%d times %v of %d bytes", count, op, size), "5.6", frames, frames})
		}
	}
	return all
}

func framing() []dialogue {
	all := messages(0, 1, 125, 126, 127, 128, 65535, 65536)
	for _, op := range kinds {
		a, b, c := whole(op, message(op, 126)), whole(op, ""), whole(op, message(op, 65536))
		all = append(all, dialogue{fmt.Sprintf("several of %v", op), "5.2", []frame{a, b, c, a}, []frame{a, b, c, a}})
	}
	return all
}

// headers are written out by hand: what Header.Append would not write.
func headers() []dialogue {
	wrong := []frame{fails(1002)}
	all := []dialogue{
		{"a key of zeros", "5.3", []frame{raw("\x81\x82\x00\x00\x00\x00ab")}, []frame{text("ab")}},
		{"a key of ones", "5.3", []frame{raw("\x82\x85\xff\xff\xff\xff\xff\xfe\x00\x01\x7f")}, []frame{whole(wire.OpBinary, "\x00\x01\xff\xfe\x80")}},
		{"the masked Hello of 5.7", "5.7", []frame{raw("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")}, []frame{text("Hello")}},
		{"text without a mask", "5.1", []frame{raw("\x81\x05Hello")}, wrong},
		{"empty text without a mask", "5.1", []frame{raw("\x81\x00")}, wrong},
		{"ping without a mask", "5.1", []frame{raw("\x89\x01p")}, wrong},
		{"close without a mask", "5.1", []frame{raw("\x88\x02\x03\xe8")}, wrong},
		{"a continuation without a mask", "5.1", []frame{first(wire.OpText, "a"), raw("\x80\x01b")}, wrong},
		{"a message and one without a mask", "5.1", []frame{text("a"), raw("\x81\x01b"), text("c")}, []frame{text("a"), fails(1002)}},
		{"a longest frame without a mask", "5.1", []frame{raw("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff")}, wrong},
		{"a ping in 16 bits of length", "5.2", []frame{raw("\x89\xfe\x00\x04")}, wrong},
	}
	for _, length := range []struct{ name, bytes string }{
		{"0 in 16 bits", "\xfe\x00\x00"},
		{"125 in 16 bits", "\xfe\x00\x7d"},
		{"0 in 64 bits", "\xff\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"125 in 64 bits", "\xff\x00\x00\x00\x00\x00\x00\x00\x7d"},
		{"126 in 64 bits", "\xff\x00\x00\x00\x00\x00\x00\x00\x7e"},
		{"65535 in 64 bits", "\xff\x00\x00\x00\x00\x00\x00\xff\xff"},
		{"the top bit", "\xff\x80\x00\x00\x00\x00\x00\x00\x00"},
		{"all bits", "\xff\xff\xff\xff\xff\xff\xff\xff\xff"},
	} {
		all = append(all,
			dialogue{"length " + length.name, "5.2", []frame{raw("\x81" + length.bytes)}, wrong},
			dialogue{"length " + length.name + " after a text", "5.2", []frame{text("a"), raw("\x82" + length.bytes)}, []frame{text("a"), fails(1002)}})
	}
	return all
}

func pings() []dialogue {
	bytes125 := message(wire.OpBinary, 125)
	var ten, tenBack []frame
	for i := range 10 {
		ten = append(ten, ping(fmt.Sprintf("payload %d", i)))
		tenBack = append(tenBack, pong(fmt.Sprintf("payload %d", i)))
	}
	return []dialogue{
		{"empty", "5.5.2", []frame{ping("")}, []frame{pong("")}},
		{"text", "5.5.2", []frame{ping("Hello, world!")}, []frame{pong("Hello, world!")}},
		{"binary", "5.5.2", []frame{ping("\x00\xff\xfe\xfd\xfc\xfb\x00\xff")}, []frame{pong("\x00\xff\xfe\xfd\xfc\xfb\x00\xff")}},
		{"125 bytes", "5.5.2", []frame{ping(bytes125)}, []frame{pong(bytes125)}},
		{"126 bytes", "5.5", []frame{ping(bytes125 + "x")}, []frame{fails(1002)}},
		{"126 bytes that do not come", "5.5", []frame{declared(true, wire.OpPing, 126)}, []frame{fails(1002)}},
		{"65536 bytes that do not come", "5.5", []frame{declared(true, wire.OpPing, 65536)}, []frame{fails(1002)}},
		{"126 bytes after a ping", "5.5", []frame{ping("a"), ping(bytes125 + "x"), ping("b")}, []frame{pong("a"), fails(1002)}},
		{"an empty pong", "5.5.3", []frame{pong("")}, nil},
		{"a pong", "5.5.3", []frame{pong("unsolicited")}, nil},
		{"a pong of 125 bytes", "5.5.3", []frame{pong(bytes125)}, nil},
		{"a pong of 126 bytes", "5.5", []frame{pong(bytes125 + "x")}, []frame{fails(1002)}},
		{"a pong and a ping", "5.5.3", []frame{pong("unsolicited"), ping("p")}, []frame{pong("p")}},
		{"a pong, a ping and a text", "5.5.3", []frame{pong("unsolicited"), ping("p"), text("t")}, []frame{pong("p"), text("t")}},
		{"ten", "5.5.2", ten, tenBack},
		{"before and after texts", "5.5.2", []frame{ping("1"), text("a"), ping("2"), text("b"), ping("3")}, []frame{pong("1"), text("a"), pong("2"), text("b"), pong("3")}},
		{"before a close", "5.5.2", []frame{ping("1"), closing(1000, "")}, []frame{pong("1"), closing(1000, "")}},
	}
}

func reservedBits() (all []dialogue) {
	for rsv := uint8(0x10); rsv <= 0x70; rsv += 0x10 {
		for _, d := range []dialogue{
			{"text", "5.2", []frame{text("x").but(rsv)}, nil},
			{"text that does not come", "5.2", []frame{text("x").but(rsv).without(1)}, nil},
			{"empty text", "5.2", []frame{text("").but(rsv)}, nil},
			{"binary", "5.2", []frame{whole(wire.OpBinary, "\x00\xff").but(rsv)}, nil},
			{"text between texts and a ping", "5.2", []frame{text("a"), text("b").but(rsv), ping("p"), text("c")}, []frame{text("a")}},
			{"the first fragment", "5.2", []frame{first(wire.OpText, "a").but(rsv), last("b")}, nil},
			{"a continuation", "5.2", []frame{first(wire.OpText, "a"), more("b").but(rsv), last("c")}, nil},
			{"the last fragment", "5.2", []frame{first(wire.OpText, "a"), last("b").but(rsv)}, nil},
			{"ping", "5.2", []frame{ping("p").but(rsv)}, nil},
			{"ping after a text and a ping", "5.2", []frame{text("a"), ping("1"), ping("2").but(rsv)}, []frame{text("a"), pong("1")}},
			{"ping between fragments", "5.2", []frame{first(wire.OpText, "a"), ping("p").but(rsv), last("b")}, nil},
			{"pong", "5.2", []frame{pong("").but(rsv)}, nil},
			{"close", "5.2", []frame{closing(1000, "").but(rsv)}, nil},
			{"empty close", "5.2", []frame{whole(wire.OpClose, "").but(rsv)}, nil},
			{"close after a text", "5.2", []frame{text("a"), closing(1000, "").but(rsv)}, []frame{text("a")}},
		} {
			d.name = fmt.Sprintf("RSV %03b, %s", rsv>>4, d.name)
			d.back = append(d.back, fails(1002))
			all = append(all, d)
		}
	}
	return all
}

func opcodes() (all []dialogue) {
	for _, op := range []wire.Opcode{3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF} {
		for _, d := range []dialogue{
			{"empty", "5.2", []frame{whole(op, "")}, nil},
			{"with a payload", "5.2", []frame{whole(op, "reserved opcode")}, nil},
			{"with a payload that does not come", "5.2", []frame{whole(op, "reserved opcode").without(15)}, nil},
			{"with 65536 bytes that do not come", "5.2", []frame{declared(true, op, 65536)}, nil},
			{"not the last", "5.2", []frame{first(op, "a"), last("b")}, nil},
			{"before a ping", "5.2", []frame{whole(op, ""), ping("p")}, nil},
			{"empty after a text", "5.2", []frame{text("a"), whole(op, ""), ping("p")}, []frame{text("a")}},
			{"with a payload after a text", "5.2", []frame{text("a"), whole(op, "reserved opcode"), ping("p")}, []frame{text("a")}},
			{"between fragments", "5.2", []frame{first(wire.OpText, "a"), whole(op, "x"), last("b")}, nil},
			{"before a close", "5.2", []frame{whole(op, ""), closing(1000, "")}, nil},
		} {
			d.name = fmt.Sprintf("%v, %s", op, d.name)
			d.back = append(d.back, fails(1002))
			all = append(all, d)
		}
	}
	return all
}

func fragmentation() []dialogue {
	all := []dialogue{
		{"ping in two", "5.5", []frame{first(wire.OpPing, "a"), last("b")}, []frame{fails(1002)}},
		{"a ping that is not the last", "5.5", []frame{first(wire.OpPing, "")}, []frame{fails(1002)}},
		{"pong in two", "5.5", []frame{first(wire.OpPong, "a"), last("b")}, []frame{fails(1002)}},
		{"close in two", "5.5", []frame{first(wire.OpClose, "\x03"), last("\xe8")}, []frame{fails(1002)}},
		{"ping in two after a text", "5.5", []frame{text("a"), first(wire.OpPing, "b"), last("c")}, []frame{text("a"), fails(1002)}},
		{"ping in two within a text", "5.5", []frame{first(wire.OpText, "a"), first(wire.OpPing, "b"), last("c")}, []frame{fails(1002)}},
		{"closed before its end", "5.5.1", []frame{first(wire.OpText, "a"), closing(1000, ""), last("b")}, []frame{closing(1000, "")}},
	}
	for _, op := range kinds {
		a, b := first(op, "fragment1"), whole(op, "fragment1fragment2")
		two := last("fragment2")
		five := []frame{first(op, "fragment1"), more("fragment2"), ping("1"), more("fragment3"), more("fragment4"), ping("2"), last("fragment5")}
		one := whole(op, "fragment1fragment2fragment3fragment4fragment5")
		for _, d := range []dialogue{
			{"two", "5.4", []frame{a, two}, []frame{b}},
			{"two and two", "5.4", []frame{a, two, a, two}, []frame{b, b}},
			{"two and a whole one", "5.4", []frame{a, two, text("c")}, []frame{b, text("c")}},
			{"a ping between", "5.4", []frame{a, ping("p"), two}, []frame{pong("p"), b}},
			{"pings before, between and after", "5.4", []frame{ping("1"), a, ping("2"), ping("3"), two, ping("4")}, []frame{pong("1"), pong("2"), pong("3"), b, pong("4")}},
			{"a pong between", "5.4", []frame{a, pong("p"), two}, []frame{b}},
			{"five with pings", "5.4", five, []frame{pong("1"), pong("2"), one}},
			{"five with pings, twice", "5.4", slices.Concat(five, five), []frame{pong("1"), pong("2"), one, pong("1"), pong("2"), one}},
			{"all empty", "5.4", []frame{first(op, ""), more(""), last("")}, []frame{whole(op, "")}},
			{"empty but one", "5.4", []frame{first(op, ""), more("x"), last("")}, []frame{whole(op, "x")}},
			{"an empty one at the end", "5.4", []frame{first(op, "x"), last("")}, []frame{whole(op, "x")}},
			{"sizes of every form", "5.4", []frame{first(op, message(op, 65536)), more(message(op, 126)), last(message(op, 125))}, []frame{whole(op, message(op, 65536)+message(op, 126)+message(op, 125))}},
			{"another whole message within", "5.4", []frame{a, text("new"), two}, []frame{fails(1002)}},
			{"another first fragment within", "5.4", []frame{a, a, two}, []frame{fails(1002)}},
			{"another after the second", "5.4", []frame{a, more("m"), whole(op, "new")}, []frame{fails(1002)}},
			{"another that does not come", "5.4", []frame{a, text("new").without(3)}, []frame{fails(1002)}},
			{"another empty one", "5.4", []frame{a, whole(op, "")}, []frame{fails(1002)}},
			{"another after a ping", "5.4", []frame{a, ping("p"), whole(op, "new")}, []frame{pong("p"), fails(1002)}},
			{"one that is never continued", "5.4", []frame{a}, nil},
		} {
			d.name = fmt.Sprintf("%v, %s", op, d.name)
			all = append(all, d)
		}
	}
	// A continuation where no message is in hand, in all ways to come to that.
	for _, fin := range []bool{false, true} {
		for _, payload := range []string{"", "non-continuation"} {
			nothing := frame{fin: fin, payload: payload}
			for _, d := range []dialogue{
				{"at the start", "5.4", []frame{nothing, text("a")}, nil},
				{"that does not come", "5.4", []frame{nothing.without(len(payload))}, nil},
				{"after a ping", "5.4", []frame{ping("p"), nothing}, []frame{pong("p")}},
				{"after a text", "5.4", []frame{text("a"), nothing, text("b")}, []frame{text("a")}},
				{"after a message in fragments", "5.4", []frame{first(wire.OpText, "a"), last("b"), nothing, text("c")}, []frame{text("ab")}},
				{"again and again", "5.4", []frame{nothing, text("a"), nothing, text("b"), nothing}, nil},
			} {
				d.name = fmt.Sprintf("continuation of nothing, last: %v, %d bytes, %s", fin, len(payload), d.name)
				d.back = append(d.back, fails(1002))
				all = append(all, d)
			}
		}
	}
	return all
}

func validTexts() (all []dialogue) {
	type row struct{ name, text string }
	rows := []row{
		{"Greek", "Γαζέες καὶ μυρτιὲς"}, {"German", "Grüße, Öfen, Maß"}, {"Russian", "Съешь же ещё"},
		{"Hebrew", "דג סקרן שט"}, {"Hindi", "नमस्ते"}, {"Thai", "สวัสดี"}, {"Japanese", "いろはにほへと"}, {"Chinese", "你好，世界"},
		{"combining", "e\u0301o\u0308"}, {"emoji in a family", "👩\u200d👩\u200d👧\u200d👦🏽"}, {"of all lengths", "a\u00e9\u20ac\U0001f600a"},
		{"NUL", "a\x00b"}, {"control characters", "\x01\x1b\x7f\r\n"}, {"byte order mark", "\ufeffa"}, {"wrong byte order mark", "\ufffea"},
		{"replacement characters", "\ufffd\ufffd"}, {"private use", "\ue000\uf8ff\U000f0000\U00100000"},
		{"last before the surrogates", "\ud7ff"}, {"first after the surrogates", "\ue000"},
		{"first of one byte", "\u0000"}, {"last of one byte", "\u007f"},
		{"first of two bytes", "\u0080"}, {"last of two bytes", "\u07ff"},
		{"first of three bytes", "\u0800"}, {"last of three bytes", "\uffff"},
		{"first of four bytes", "\U00010000"}, {"last of four bytes", "\U0010ffff"},
		{"noncharacters within a plane", "\ufdd0\ufdef"},
	}
	for plane := rune(0); plane <= 0x10; plane++ {
		rows = append(rows, row{fmt.Sprintf("noncharacters of plane %d", plane), string([]rune{plane<<16 | 0xFFFE, plane<<16 | 0xFFFF})})
	}
	for lead := rune(0xC2); lead <= 0xF4; lead++ { // the first and the last character that begin with it
		low, high := lead&0x1F<<6, lead&0x1F<<6|0x3F
		switch {
		case lead >= 0xF0:
			low, high = max(lead&7<<18, 0x10000), min(lead&7<<18|0x3FFFF, utf8.MaxRune)
		case lead >= 0xE0:
			low, high = max(lead&15<<12, 0x800), lead&15<<12|0xFFF
			if lead == 0xED {
				high = 0xD7FF
			}
		}
		rows = append(rows, row{fmt.Sprintf("lead byte %X", lead), string([]rune{low, high})})
	}
	for _, r := range rows {
		var octets, octetsBack, halves, halvesBack []frame
		for i := range len(r.text) {
			octets = append(octets, more(r.text[i:i+1]), ping(r.text[:i]))
			octetsBack = append(octetsBack, pong(r.text[:i]))
			halves = append(halves, first(wire.OpText, r.text[:i]), last(r.text[i:]))
			halvesBack = append(halvesBack, text(r.text))
		}
		octets[0].op = wire.OpText
		all = append(all,
			dialogue{r.name + ", whole", "8.1", []frame{text(r.text)}, []frame{text(r.text)}},
			dialogue{r.name + ", in two at every place", "8.1", halves, halvesBack},
			dialogue{r.name + ", in fragments of a byte", "8.1", append(octets, last("")), append(octetsBack, text(r.text))},
			dialogue{r.name + ", as a reason", "5.5.1", []frame{closing(1000, r.text)}, []frame{closing(1000, "")}})
	}
	return all
}

func invalidTexts() (all []dialogue) {
	// What is good may be the beginning of a text. The first byte of what is bad
	// must not follow; where nothing does, the text ends within a character.
	type row struct{ name, good, bad string }
	rows := []row{
		{"Latin-1", "gr", "\xfc\xdfe"}, {"UTF-16, little end first", "", "\xff\xfea\x00"}, {"UTF-16, big end first", "", "\xfe\xff\x00a"},
		{"continuation byte after a character", "é", "\xa9"}, {"continuation byte after ASCII", "a", "\x80"}, {"one continuation byte too many", "\U0001f600", "\x80"},

		{"overlong NUL in two", "", "\xc0\x80"}, {"overlong NUL in three", "\xe0", "\x80\x80"}, {"overlong NUL in four", "\xf0", "\x80\x80\x80"},
		{"overlong NUL in five", "", "\xf8\x80\x80\x80\x80"}, {"overlong NUL in six", "", "\xfc\x80\x80\x80\x80\x80"},
		{"overlong / in two", "", "\xc0\xaf"}, {"overlong / in three", "\xe0", "\x80\xaf"}, {"overlong / in four", "\xf0", "\x80\x80\xaf"},
		{"overlong / in five", "", "\xf8\x80\x80\x80\xaf"}, {"overlong / in six", "", "\xfc\x80\x80\x80\x80\xaf"},
		{"longest overlong in two", "", "\xc1\xbf"}, {"longest overlong in three", "\xe0", "\x9f\xbf"}, {"longest overlong in four", "\xf0", "\x8f\xbf\xbf"},
		{"longest overlong in five", "", "\xf8\x87\xbf\xbf\xbf"}, {"longest overlong in six", "", "\xfc\x83\xbf\xbf\xbf\xbf"},

		{"surrogate D800", "\xed", "\xa0\x80"}, {"surrogate DB7F", "\xed", "\xad\xbf"}, {"surrogate DB80", "\xed", "\xae\x80"}, {"surrogate DBFF", "\xed", "\xaf\xbf"},
		{"surrogate DC00", "\xed", "\xb0\x80"}, {"surrogate DF80", "\xed", "\xbe\x80"}, {"surrogate DFFF", "\xed", "\xbf\xbf"},
		{"pair D800 DC00", "\xed", "\xa0\x80\xed\xb0\x80"}, {"pair D83D DE00", "\xed", "\xa0\xbd\xed\xb8\x80"}, {"pair DBFF DFFF", "\xed", "\xaf\xbf\xed\xbf\xbf"},

		{"U+110000", "\xf4", "\x90\x80\x80"}, {"U+13FFFF", "\xf4", "\xbf\xbf\xbf"}, {"U+140000", "", "\xf5\x80\x80\x80"}, {"U+1FFFFF", "", "\xf7\xbf\xbf\xbf"},
		{"first of five bytes", "", "\xf8\x88\x80\x80\x80"}, {"last of five bytes", "", "\xfb\xbf\xbf\xbf\xbf"},
		{"first of six bytes", "", "\xfc\x84\x80\x80\x80\x80"}, {"last of six bytes", "", "\xfd\xbf\xbf\xbf\xbf\xbf"},
		{"only impossible bytes", "", "\xfe\xfe\xff\xff"}, {"impossible byte as the second", "\xe2", "\xff\xac"}, {"impossible byte as the last", "\xf0\x9f\x98", "\xfe"},

		{"end after C2", "\xc2", ""}, {"end after DF", "\xdf", ""}, {"end after E0", "\xe0", ""}, {"end after E0 A0", "\xe0\xa0", ""},
		{"end after E2 82", "a\xe2\x82", ""}, {"end after ED 9F", "\xed\x9f", ""}, {"end after EF BF", "\xef\xbf", ""},
		{"end after F0", "\xf0", ""}, {"end after F0 90", "\xf0\x90", ""}, {"end after F0 9F 98", "ä\xf0\x9f\x98", ""}, {"end after F4 8F BF", "\xf4\x8f\xbf", ""},
		{"a character after E2 82", "\xe2\x82", "é"}, {"a character after F0 9F 98", "\xf0\x9f\x98", "\U0001f600"}, {"ASCII after F4 8F BF", "\xf4\x8f\xbf", "a"},
		{"every beginning in a row", "\xc3", "\xe2\x82\xf0\x9f\x98"},
		{"7F as the second byte", "\xe1", "\x7f\x80"}, {"C0 as the second byte", "\xe1", "\xc0\x80"}, {"7F as the third byte", "\xe1\x80", "\x7f"}, {"C0 as the fourth byte", "\xf1\x80\x80", "\xc0"},
		{"far behind", prose()[:120], "\xff"},
	}
	for b := 0x80; b <= 0xFF; b++ {
		r := row{fmt.Sprintf("%X and a space", b), "", string([]byte{byte(b), ' '})}
		if b >= 0xC2 && b <= 0xF4 {
			r.good, r.bad = r.bad[:1], r.bad[1:]
		}
		rows = append(rows, r)
	}
	for _, r := range rows {
		// The ping shows that nothing was held against what is good. Of what comes
		// after the first bad byte nothing is sent: the server must not wait for it.
		atFirst := []frame{first(wire.OpText, r.good), ping("so far"), last("")}
		if r.bad != "" {
			atFirst[2] = more(r.bad[:1] + "and more").without(8)
			all = append(all,
				dialogue{r.name + ", amid a text", "8.1", []frame{text("κόσμε " + r.good + r.bad + " κόσμε")}, []frame{fails(1007)}},
				dialogue{r.name + ", in a frame that does not end", "8.1", []frame{text(r.good + r.bad[:1] + "and more").without(8)}, []frame{fails(1007)}})
		}
		all = append(all,
			dialogue{r.name + ", whole", "8.1", []frame{text(r.good + r.bad), text("a")}, []frame{fails(1007)}},
			dialogue{r.name + ", in a fragment that does not end", "8.1", atFirst, []frame{pong("so far"), fails(1007)}},
			dialogue{r.name + ", after a text", "8.1", []frame{text("a"), text(r.good + r.bad)}, []frame{text("a"), fails(1007)}},
			dialogue{r.name + ", as binary", "5.6", []frame{whole(wire.OpBinary, r.good+r.bad)}, []frame{whole(wire.OpBinary, r.good+r.bad)}},
			dialogue{r.name + ", as a reason", "5.5.1", []frame{closing(1000, r.good+r.bad)}, []frame{fails(1007)}})
	}
	return all
}

func closes() []dialogue {
	reason123 := message(wire.OpText, 123)
	empty := whole(wire.OpClose, "")
	return []dialogue{
		{"at once", "7.1.2", nil, nil},
		{"0 bytes", "5.5.1", []frame{empty}, []frame{empty}},
		{"1 byte", "5.5.1", []frame{whole(wire.OpClose, "a")}, []frame{fails(1002)}},
		{"2 bytes", "5.5.1", []frame{closing(1000, "")}, []frame{closing(1000, "")}},
		{"3 bytes", "5.5.1", []frame{closing(1000, "a")}, []frame{closing(1000, "")}},
		{"a reason", "5.5.1", []frame{closing(1000, "Bye, schöne Welt")}, []frame{closing(1000, "")}},
		{"125 bytes", "5.5", []frame{closing(1000, reason123)}, []frame{closing(1000, "")}},
		{"126 bytes", "5.5", []frame{closing(1000, reason123+"x")}, []frame{fails(1002)}},
		{"126 bytes that do not come", "5.5", []frame{declared(true, wire.OpClose, 126)}, []frame{fails(1002)}},
		{"a bad code and a bad reason", "7.4", []frame{closing(999, "\xff")}, []frame{fails(1002)}},
		{"after a text", "5.5.1", []frame{text("a"), closing(1000, "")}, []frame{text("a"), closing(1000, "")}},
		{"after 256 KiB", "5.5.1", []frame{text(message(wire.OpText, 256<<10)), closing(1001, "")}, []frame{text(message(wire.OpText, 256<<10)), closing(1001, "")}},
		{"after a ping", "5.5.1", []frame{ping("p"), closing(3000, "")}, []frame{pong("p"), closing(3000, "")}},
		{"amid a text", "5.5.1", []frame{first(wire.OpText, "a"), more("b"), closing(1001, "")}, []frame{closing(1001, "")}},
		{"amid a character", "5.5.1", []frame{first(wire.OpText, "\xe2\x82"), closing(1001, "")}, []frame{closing(1001, "")}},
	}
}

func closeCodes() (all []dialogue) {
	for _, code := range []wire.CloseCode{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3001, 3999, 4000, 4001, 4999} {
		all = append(all,
			dialogue{fmt.Sprintf("%d", code), "7.4", []frame{closing(code, "")}, []frame{closing(code, "")}},
			dialogue{fmt.Sprintf("%d with a reason", code), "7.4", []frame{closing(code, "why")}, []frame{closing(code, "")}})
	}
	for _, code := range []wire.CloseCode{0, 1, 100, 998, 999, 1004, 1005, 1006, 1015, 1016, 1017, 1099, 1100, 1999, 2000, 2001, 2998, 2999, 5000, 5001, 9999, 32768, 65534, 65535} {
		all = append(all,
			dialogue{fmt.Sprintf("%d", code), "7.4", []frame{closing(code, "")}, []frame{fails(1002)}},
			dialogue{fmt.Sprintf("%d with a reason", code), "7.4", []frame{closing(code, "why")}, []frame{fails(1002)}})
	}
	return all
}

// afterClose is what a client sends behind a close frame: it is not answered, and
// does not turn the end of the stream into a reset, which could overtake the
// server's close frame.
func afterClose() (all []dialogue) {
	for _, rest := range []struct {
		name   string
		frames []frame
	}{
		{"ping", []frame{ping("p")}},
		{"text", []frame{text("a")}},
		{"another close", []frame{closing(1001, "")}},
		{"a ping, a text and another close", []frame{ping("p"), text("a"), closing(4000, "again")}},
		{"invalid text", []frame{text("\xff")}},
		{"a reserved opcode", []frame{whole(3, "")}},
		{"what is no frame", []frame{raw("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")}},
		{"half a frame", []frame{text("abc").without(2)}},
		{"256 KiB", []frame{text(message(wire.OpText, 256<<10))}},
		{"256 KiB in fragments of 997 and a ping", append(inFragments(wire.OpBinary, message(wire.OpBinary, 256<<10), 997), ping("p"))},
	} {
		for _, end := range []struct {
			name       string
			send, back frame
		}{
			{"close", closing(1000, ""), closing(1000, "")},
			{"empty close", whole(wire.OpClose, ""), whole(wire.OpClose, "")},
			{"a wrong close", closing(1005, ""), fails(1002)},
			{"a wrong frame", whole(0xB, ""), fails(1002)},
			{"wrong text", text("\xc0"), fails(1007)},
			{"a message over the limit", declared(true, wire.OpBinary, longest+1), fails(1009)},
		} {
			all = append(all, dialogue{rest.name + " after " + end.name, "1.4", append([]frame{text("a"), end.send}, rest.frames...), []frame{text("a"), end.back}})
		}
	}
	return all
}

// limits are the default ones of the command and of the library.
func limits() []dialogue {
	const most = 131072 // fragments of a message
	bin, over := wire.OpBinary, fails(1009)
	full := message(bin, longest)
	empty := slices.Concat([]frame{first(bin, "")}, slices.Repeat([]frame{more("")}, most-2), []frame{last("")})
	small := []frame{first(wire.OpText, "a"), last("b")} // what counts for one message does not count for the next
	return []dialogue{
		{"a longest message, and a text", "10.4", append([]frame{first(bin, full[:longest/2]), more(full[longest/2:]), ping("p"), last("")}, small...), []frame{pong("p"), whole(bin, full), text("ab")}},
		{"a byte over, of which a part comes", "10.4", []frame{whole(bin, noise()[:longest+1]).without(longest - 1<<20)}, []frame{over}},
		{"a byte over in fragments of 64 KiB", "10.4", inFragments(bin, noise()[:longest+1], 64<<10), []frame{over}},
		{"a byte over, the header alone", "10.4", []frame{declared(true, bin, longest+1)}, []frame{over}},
		{"a byte over, text, the header alone", "10.4", []frame{declared(true, wire.OpText, longest+1)}, []frame{over}},
		{"a byte over, the header of the first fragment", "10.4", []frame{declared(false, bin, longest+1)}, []frame{over}},
		{"a byte over, the header of the second fragment", "10.4", []frame{first(bin, "abc"), ping("p"), declared(false, 0, longest-2)}, []frame{pong("p"), over}},
		{"a byte over, the header of the last fragment", "10.4", []frame{first(bin, "abc"), more("def"), ping("p"), declared(true, 0, longest-5)}, []frame{pong("p"), over}},
		{"a byte over after a text", "10.4", []frame{text("a"), declared(true, bin, longest+1)}, []frame{text("a"), over}},
		{"as much over as can be", "10.4", []frame{declared(true, bin, 1<<63-1)}, []frame{over}},
		{"as much over as can be in the last fragment", "10.4", []frame{first(bin, "a"), ping("p"), declared(true, 0, 1<<63-1)}, []frame{pong("p"), over}},
		{"65536 fragments, all empty but the last", "10.4", append(slices.Clone(empty[:65535]), last("x")), []frame{whole(bin, "x")}},
		{"65536 fragments and a ping", "10.4", slices.Insert(inFragments(bin, full[:65536], 1), 32768, ping("p")), []frame{pong("p"), whole(bin, full[:65536])}},
		{"as many fragments as are taken", "10.4", slices.Concat(empty, small), []frame{whole(bin, ""), text("ab")}},
		{"a longest message in as many fragments", "10.4", inFragments(bin, full, longest/most), []frame{whole(bin, full)}},
		{"a fragment too many", "10.4", append(slices.Clone(empty[:most-1]), more(""), ping("p"), last("")), []frame{pong("p"), fails(1008)}},
		{"fragments without end", "10.4", append(slices.Clone(empty[:most-1]), slices.Repeat([]frame{more("")}, 1000)...), []frame{fails(1008)}},
	}
}
