module github.com/duplexgo/duplex

go 1.26.0

require github.com/duplexgo/duplex/websocket v0.0.0

// The modules live in one repository; a checkout always uses its own library.
replace github.com/duplexgo/duplex/websocket => ./websocket
