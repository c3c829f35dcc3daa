package main

import (
	"github.com/duplexgo/duplex/bench/load"
	"github.com/duplexgo/duplex/bench/server"
	internal "github.com/duplexgo/duplex/internal/load"
)

const (
	deflateTable     = "Server's processor time for an echoed message of 1 KiB of JSON, compressed, microseconds"
	deflateWireTable = "The same message as the server sends it, bytes"
	deflateIdleTable = "A connection that has exchanged compressed messages and does nothing, bytes of heap and stack"
)

// deflateModes are the modes with compression: 1 KiB of JSON.
func deflateModes(o options) (all []mode) {
	for _, c := range []struct {
		name, column string
		server.Deflate
	}{
		{"deflate-15-forget", "no takeover", server.Deflate{Bits: 15}},
		{"deflate-12-forget", "no takeover, 12 bits", server.Deflate{Bits: 12}},
		{"deflate-12", "takeover, 12 bits", server.Deflate{Bits: 12, Takeover: true}},
		{"deflate-12-kept", "12 bits, compressor kept", server.Deflate{Bits: 12, Takeover: true, Kept: true}},
		{"deflate-15", "takeover, 15 bits", server.Deflate{Bits: 15, Takeover: true}},
		{"deflate-15-kept", "15 bits, compressor kept", server.Deflate{Bits: 15, Takeover: true, Kept: true}},
	} {
		offer := &internal.Compression{Bits: c.Bits, NoTakeover: !c.Takeover}
		if c.Bits == 15 {
			offer.Bits = 0 // not every server knows the parameters
		}
		all = append(all,
			mode{
				name:    c.name,
				deflate: &c.Deflate,
				job:     load.Job{Kind: load.Packed, Path: "/echo", Conns: 64, Size: 1 << 10, Window: 1, Deflate: offer},
				metrics: []metric{
					{table: deflateTable, name: c.column, of: cpu},
					{table: deflateWireTable, name: c.column, of: func(r load.Result) float64 { return r.Wire }},
				},
			},
			mode{
				name:    c.name + "-idle",
				deflate: &c.Deflate,
				job:     load.Job{Kind: load.PackedIdle, Path: "/echo", Conns: min(256, o.idle), Size: 1 << 10, Window: 1, Settle: o.settle, Deflate: offer},
				rounds:  1,
				metrics: []metric{{table: deflateIdleTable, name: c.column, of: func(r load.Result) float64 {
					return float64(r.Used.HeapLive+r.Used.StackInUse) / float64(max(1, r.Conns))
				}}},
			})
	}
	return all
}
