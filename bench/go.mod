module github.com/duplexgo/duplex/bench

go 1.26.0

require (
	github.com/duplexgo/duplex/websocket v0.0.0
	github.com/gobwas/ws v1.5.0
	github.com/gorilla/websocket v1.5.3
	github.com/lxzan/gws v1.8.9
)

require (
	github.com/dolthub/maphash v0.1.0 // indirect
	github.com/gobwas/httphead v0.1.0 // indirect
	github.com/klauspost/compress v1.17.9 // indirect
)

// The comparison is always with the library of this checkout.
replace github.com/duplexgo/duplex/websocket => ../websocket
