// Package watermark decides which deliveries of a batch a function has still to apply.
package watermark

import (
	"errors"
	"fmt"
	"slices"

	"github.com/chainmetrics/chainmetrics/events"
)

var (
	// ErrGap says that entries between the watermark and the batch are missing: the source must read on from the watermark.
	ErrGap = errors.New("entries before this batch were not applied")
	// ErrDiverged says that the batch does not continue the history that was applied: the source must look at its stream.
	ErrDiverged = errors.New("the batch does not continue the applied history")
)

// Mark is how far a function has applied a stream.
type Mark struct {
	ID    events.ID `json:"id"`              // the last applied entry; 0-0 before the first
	Hash  string    `json:"hash"`            // its content hash; empty at 0-0
	Holes []Hole    `json:"holes,omitempty"` // accepted or healed losses at or after ID, in stream order
}

// Hole is a loss of entries that a person has accepted, or the archive has healed: the entry Next is taken to follow the entry
// After, which the stream may lack. Redis tells only the last place at which an entry was deleted, so Removed and First say what
// else was accepted: a later rise is another loss.
type Hole struct {
	After   events.ID `json:"after"`
	Next    events.ID `json:"next"`
	Removed int64     `json:"removed"` // how many entries the stream had lost by then, in all and wherever
	First   events.ID `json:"first"`   // the first entry that it held then
}

// Lowest gives the mark from which on a stream's entries are still needed by some function, the zero mark where there are
// none.
func Lowest(marks []Mark) Mark {
	if len(marks) == 0 {
		return Mark{}
	}
	return slices.MinFunc(marks, func(a, b Mark) int { return a.ID.Compare(b.ID) })
}

// Remaining gives the part of a batch that lies after the mark; none of it where all was applied before. The batch is in
// stream order, each delivery naming its predecessor. It fails with [ErrGap] or [ErrDiverged], and with
// [events.ErrInvalid] where the batch itself has a break.
func (m Mark) Remaining(batch []events.Delivery) ([]events.Delivery, error) {
	if len(batch) == 0 {
		return nil, fmt.Errorf("%w: empty batch", events.ErrInvalid)
	}
	for i, d := range batch {
		if d.ID.Compare(d.Predecessor) <= 0 || i > 0 && d.Predecessor != batch[i-1].ID {
			return nil, fmt.Errorf("%w: %s does not follow %s", events.ErrInvalid, d.ID, d.Predecessor)
		}
	}
	last := batch[len(batch)-1]
	if last.ID == m.ID && last.Hash != m.Hash {
		return nil, fmt.Errorf("%w: entry %s has another content than was applied", ErrDiverged, m.ID)
	}
	if last.ID.Compare(m.ID) <= 0 {
		return nil, nil
	}
	for i, d := range batch {
		if d.Predecessor == m.ID {
			before := d.PredecessorHash
			if i > 0 {
				before = batch[i-1].Hash
			}
			if m.Hash != before && (i > 0 || before != "") {
				return nil, fmt.Errorf("%w: entry %s has another content than was applied", ErrDiverged, m.ID)
			}
			return batch[i:], nil
		}
	}
	switch first := batch[0]; {
	case m.ID.Compare(first.Predecessor) < 0:
		return nil, fmt.Errorf("%w: applied up to %s, the batch follows %s", ErrGap, m.ID, first.Predecessor)
	default:
		return nil, fmt.Errorf("%w: applied up to %s, which the batch passes over", ErrDiverged, m.ID)
	}
}
