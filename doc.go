// Package duplex is the root of two modules. Import what is in them:
//
//   - github.com/duplexgo/duplex/websocket is the WebSocket library, a module of
//     its own that needs the standard library alone.
//   - github.com/duplexgo/duplex/push is the push server as an http.Handler.
//   - github.com/duplexgo/duplex/cmd/duplex is the command: the server and the
//     tools around it.
package duplex
