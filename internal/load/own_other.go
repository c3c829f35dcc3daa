//go:build !unix

package load

import "time"

// ownTime is not known on this system.
func ownTime() time.Duration { return 0 }
