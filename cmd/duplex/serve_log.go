package main

import (
	"io"
	"log/slog"

	"github.com/spf13/cobra"
)

// logSettings are the settings of a server's log.
type logSettings struct{ format, level string }

func (l *logSettings) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&l.format, "log-format", "text", "`FORMAT` of the log: text or json")
	cmd.Flags().StringVar(&l.level, "log-level", "info", "`LEVEL` of the log: debug, info, warn or error")
}

func (l *logSettings) check() error {
	if l.format != "text" && l.format != "json" {
		return wrongUse("--log-format %q is neither text nor json", l.format)
	}
	if new(slog.Level).UnmarshalText([]byte(l.level)) != nil {
		return wrongUse("--log-level %q is none of debug, info, warn and error", l.level)
	}
	return nil
}

// open returns the log: one line an event.
func (l *logSettings) open(stderr io.Writer) *slog.Logger {
	var level slog.Level
	level.UnmarshalText([]byte(l.level))
	options := &slog.HandlerOptions{Level: level}
	if l.format == "json" {
		return slog.New(slog.NewJSONHandler(stderr, options))
	}
	return slog.New(slog.NewTextHandler(stderr, options))
}
