package main

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// reloads are what reads files again: those of keys and certificates.
type reloads []func() error

func (r *reloads) add(f func() error) { *r = append(*r, f) }

// onHangup reads the files again at each SIGHUP, until stop is called. They are also
// read when they have changed and are used: the signal is for who wants to see now
// whether the new ones are good.
func (r reloads) onHangup(log *slog.Logger) (stop func()) {
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		defer close(done)
		for range signals {
			r.all(log)
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}

// all reads every file again. One that is wrong holds up no other.
func (r reloads) all(log *slog.Logger) {
	for _, reload := range r {
		if err := reload(); err != nil {
			log.Error("it cannot be read again: what was read before goes on to count", "error", err)
		}
	}
	log.Info("keys and certificates have been read again; other settings need a restart", "files", len(r))
}
