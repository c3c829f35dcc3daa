package handshake

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"net/http"
)

// guid is what the server appends to the key. It has no other meaning than to
// show that the server knows this protocol. RFC 6455, 1.3.
const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// A key is 16 bytes, which are 24 characters in base64. RFC 6455, 4.1.
const (
	keyBytes = 16
	keyChars = 24
)

var (
	errNoKey   = errors.New("Sec-WebSocket-Key is missing")
	errManyKey = errors.New("Sec-WebSocket-Key stands there more than once")
	errKey     = errors.New("Sec-WebSocket-Key must be 16 bytes in base64, which are 24 characters")
)

// NewKey returns a client's key: 16 random bytes in base64. RFC 6455, 4.1.
func NewKey() string {
	var b [keyBytes]byte
	rand.Read(b[:]) // never fails
	return base64.StdEncoding.EncodeToString(b[:])
}

// Key returns the key of a request, as it was sent. Its last character carries
// four bits that belong to no byte; they may be anything, because clients exist
// that set them. RFC 6455, 4.2.1.
func Key(h http.Header) (string, error) {
	values := h.Values("Sec-WebSocket-Key")
	switch {
	case len(values) == 0:
		return "", errNoKey
	case len(values) > 1:
		return "", errManyKey
	case !isKey(values[0]):
		return "", errKey
	}
	return values[0], nil
}

func isKey(s string) bool {
	// The length is checked beside what it decodes to, because the decoder skips
	// line breaks.
	b, err := base64.StdEncoding.DecodeString(s)
	return err == nil && len(s) == keyChars && len(b) == keyBytes
}

// Accept returns the Sec-WebSocket-Accept that answers a key. It is computed
// from the key's characters, not from the bytes that they stand for. RFC 6455,
// 4.2.2.
func Accept(key string) string {
	sum := sha1.Sum([]byte(key + guid))
	return base64.StdEncoding.EncodeToString(sum[:])
}
