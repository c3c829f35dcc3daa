//go:build unix && !race && !msan && !asan

package netpoll

// instrumented says that no detector has to be told of what a system call does to
// memory.
const instrumented = false
