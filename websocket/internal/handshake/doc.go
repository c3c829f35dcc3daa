// Package handshake holds the rules of the opening handshake (RFC 6455,
// section 4) as functions on header fields and strings, without any input or
// output. Both sides use them: what the server asks of a request, what the
// client asks of an answer, and what neither lets a caller write into a header.
//
// Errors say what is wrong in words that fit an HTTP answer; which status goes
// with them is the caller's business.
//
// Header fields are looked up by their canonical names, as net/http stores them.
package handshake
