module github.com/duplexgo/duplex/websocket

go 1.25.0
