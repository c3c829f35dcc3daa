//go:build !linux

package load

func newEngine(w *work) (engine, error) { return newCrew(w) }
