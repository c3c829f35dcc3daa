module github.com/duplexgo/duplex/bench

go 1.26.0

require (
	github.com/coder/websocket v1.8.15
	github.com/duplexgo/duplex v0.0.0
	github.com/duplexgo/duplex/websocket v0.0.0
	github.com/gobwas/ws v1.5.0
	github.com/gorilla/websocket v1.5.3
	github.com/lesismal/llib v1.2.4
	github.com/lesismal/nbio v1.6.12
	github.com/lxzan/gws v1.8.9
)

require (
	github.com/dolthub/maphash v0.1.0 // indirect
	github.com/gobwas/httphead v0.1.0 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	golang.org/x/crypto v0.0.0-20210513122933-cd7d49e622d5 // indirect
	golang.org/x/sys v0.48.0 // indirect
)

// The comparison is always with the library and the load of this checkout.
replace (
	github.com/duplexgo/duplex => ..
	github.com/duplexgo/duplex/websocket => ../websocket
)
