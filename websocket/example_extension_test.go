package websocket_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/adler32"
	"hash/crc32"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
)

// Checksum is an extension of our own. Each frame of a message begins with four
// bytes of extension data, the checksum of the message up to the frame's end, and
// the message's first frame has RSV2. Both ends agree on the sort of checksum by the
// parameter "sum".
type Checksum struct{}

var sums = map[string]func() hash.Hash32{
	"crc32":   crc32.NewIEEE,
	"adler32": adler32.New,
}

func (Checksum) Name() string { return "x-checksum" }

// Offers has the best first; a server takes the first that it knows.
func (Checksum) Offers() [][]websocket.ExtensionParam {
	return [][]websocket.ExtensionParam{
		{{Name: "sum", Value: "sha3"}}, // which the other end does not know
		{{Name: "sum", Value: "crc32"}},
		{{Name: "sum", Value: "adler32"}},
	}
}

func (Checksum) Accept(offer []websocket.ExtensionParam) (answer []websocket.ExtensionParam, a *websocket.Agreement) {
	if len(offer) != 1 || offer[0].Name != "sum" || sums[offer[0].Value] == nil {
		return nil, nil
	}
	sum := sums[offer[0].Value]
	return offer, &websocket.Agreement{
		Rsv:        wire.Rsv2,
		NewEncoder: func() websocket.Encoder { return &checksumEncoder{sum()} },
		NewDecoder: func() websocket.Decoder { return &checksumDecoder{sum: sum()} },
	}
}

func (c Checksum) Confirm(answer []websocket.ExtensionParam) (*websocket.Agreement, error) {
	_, a := c.Accept(answer)
	if a == nil {
		return nil, errors.New("no checksum that we know")
	}
	return a, nil
}

type checksumEncoder struct{ sum hash.Hash32 }

func (e *checksumEncoder) Encode(dst []byte, f websocket.Frame, p []byte) (b []byte, rsv uint8, ok bool) {
	if f.First {
		e.sum.Reset()
		rsv = wire.Rsv2
	}
	e.sum.Write(p)
	return append(e.sum.Sum(dst), p...), rsv, true
}

type checksumDecoder struct {
	sum  hash.Hash32
	want [4]byte // the extension data of the frame in hand
	n    int     // how much of it has come
}

func (d *checksumDecoder) Decode(dst, src []byte, f websocket.Frame, end bool) (nDst, nSrc int, err error) {
	n := copy(d.want[d.n:], src)
	d.n += n
	m := copy(dst, src[n:])
	d.sum.Write(dst[:m])
	if !end || n+m < len(src) {
		return m, n + m, nil
	}
	if d.n < len(d.want) || d.sum.Sum32() != binary.BigEndian.Uint32(d.want[:]) {
		return m, n + m, errors.New("the checksum is wrong")
	}
	if d.n = 0; f.Last {
		d.sum.Reset()
	}
	return m, n + m, io.EOF
}

// An extension of one's own, here beside compression.
func ExampleExtension() {
	options := websocket.Options{Extensions: []websocket.Extension{
		&websocket.Deflate{SendBits: 15, ReceiveBits: 15},
		Checksum{},
	}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Options: options})
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			t, p, err := c.Read(context.Background())
			if err != nil {
				return
			}
			c.Write(context.Background(), t, p)
		}
	}))
	defer srv.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(srv.URL, "http"), &websocket.DialOptions{Options: options})
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	fmt.Println(c.Extensions())
	if err := c.Write(ctx, websocket.Text, []byte(strings.Repeat("hello ", 1000))); err != nil {
		log.Fatal(err)
	}
	_, p, err := c.Read(ctx)
	fmt.Println(len(p), err)
	// Output:
	// permessage-deflate, x-checksum; sum=crc32
	// 6000 <nil>
}
