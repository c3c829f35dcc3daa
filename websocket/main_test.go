package websocket_test

import (
	"testing"

	"github.com/duplexgo/duplex/websocket/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }
