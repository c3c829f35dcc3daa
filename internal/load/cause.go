package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// unopened makes a failure of an error of connecting, TLS or the handshake's reads
// and writes.
func unopened(id uint32, err error, timeout time.Duration) error {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var cert *tls.CertificateVerificationError
	var name x509.HostnameError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return failure(Refused, "connection %d: nothing listens there (any more)", id)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return failure(Local, "connection %d: no port is left to connect from: use fewer connections, or more addresses", id)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return failure(Local, "connection %d: too many open files: raise the limit with ulimit -n", id)
	case errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
		return failure(Local, "connection %d: the system has no memory for it", id)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return failure(NoOpening, "connection %d: it was not open within %v", id, timeout)
	case errors.As(err, &record), errors.As(err, &alert), errors.As(err, &cert), errors.As(err, &name):
		return failure(TLS, "connection %d: %v", id, err)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return failure(Reset, "connection %d: it was reset before the server had accepted it", id)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return failure(Ended, "connection %d: it ended before the server had accepted it", id)
	}
	return failure(Unreached, "connection %d: %v", id, err)
}

// broken makes a failure of an error of an open connection; nil where it was to end.
func (c *conn) broken(err error) error {
	if c.closing {
		return nil
	}
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		if c.inFrame || c.kept > 0 || c.decoder.InMessage() {
			return failure(Ended, "connection %d: it ended in the middle of a message, without a close frame", c.id)
		}
		return failure(Ended, "connection %d: it ended without a close frame after %d messages had come", c.id, c.next)
	}
	return failure(Reset, "connection %d: it was cut after %d messages had come: %v", c.id, c.next, err)
}
