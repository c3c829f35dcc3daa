//go:build unix && (race || msan || asan)

package netpoll

// instrumented says that package syscall tells the detector what a system call
// does to memory. A raw system call would hide it.
const instrumented = true
