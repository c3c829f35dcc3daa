package load

import "time"

// A Usage is what a process has used up to now, and holds.
type Usage struct {
	CPU      time.Duration // of all its threads, in its own code and in the system's
	Switches int64         // context switches of the threads that live
	Resident int64         // bytes of memory
}
