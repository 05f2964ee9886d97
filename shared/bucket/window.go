package bucket

import (
	"cmp"
	"time"
)

// Window is the half-open interval [Start, End), in UTC.
type Window struct {
	Start, End time.Time
}

// Contains tells whether t lies at or after Start and before End.
func (w Window) Contains(t time.Time) bool {
	return !t.Before(w.Start) && t.Before(w.End)
}

// Key identifies a bucket. It is comparable; Start is the UTC time that [Size.Window] gives.
type Key struct {
	Metric     int64 // the id of the metric in the registry
	Size       Size
	Start      time.Time
	Chain      string
	Dimensions string // a JSON object of strings, names sorted, no white space; "{}" where there are none
}

// AllDimensions stands for the buckets of all sets of dimensions in the window.
func (k Key) AllDimensions() Key {
	k.Dimensions = ""
	return k
}

// Compare orders keys. Transactions lock buckets in this order.
func (k Key) Compare(other Key) int {
	return cmp.Or(
		cmp.Compare(k.Metric, other.Metric),
		cmp.Compare(k.Size, other.Size),
		k.Start.Compare(other.Start),
		cmp.Compare(k.Chain, other.Chain),
		cmp.Compare(k.Dimensions, other.Dimensions),
	)
}
