// Package flate is DEFLATE (RFC 1951) as messages need it: the compressor is
// borrowed for a message and what it remembers between two is a window of plain
// bytes; the decompressor takes bytes as they come, stops anywhere without
// waiting, and goes on at the same bit.
//
// Nothing here reads or writes a stream, waits, or knows of WebSocket.
package flate

// Windows are powers of two: the largest distance at which a match may begin
// before the byte that it stands for. RFC 7692, 7.1.2.
const (
	MinBits = 8  // 256 bytes
	MaxBits = 15 // 32 KiB
)

const maxWindow = 1 << MaxBits
