// Command duplex runs the Duplex push server and the tools around it: an echo
// server, a WebSocket client for the shell, a publisher and a subscriber, and a load
// for any WebSocket server.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		// The first signal asks the command to end in order. The next one has its
		// usual effect again, so that nobody has to wait for that.
		signal.Stop(signals)
		cancel()
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
