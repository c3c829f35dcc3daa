package console

import "time"

// Sample takes a sample now.
func (d *Desk) Sample(now time.Time) { d.sample(now) }
