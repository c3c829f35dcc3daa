//go:build !unix

package load

// checkFiles knows of no limit here.
func checkFiles(int) error { return nil }
