// Package coverage tells of which windows the archive has everything.
package coverage

import (
	"time"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
)

// Coverage is what the archive has of a chain in a stream.
type Coverage struct {
	Stream, Chain string
	// Vouched says that one feed alone writes the stream. Where any producer may, nobody can say that everything has come.
	Vouched bool
	// LeftOut says that the archive was told to leave out events that are asked for.
	LeftOut bool
	// Floor is the time before which the archive has dropped what it had; zero: nothing.
	Floor        time.Time
	Segments     []Segment     // by height, none of which another has too
	Declarations []Declaration // in order of From
	Holes        []Hole        // in order of time
}

// Segment is blocks, each of which is the child of the one before.
type Segment struct {
	From, To         int64     // heights, both included
	FromTime, ToTime time.Time // chain times of the first and the last one
	LowWater         time.Time // no block after the last one happened before
}

// Declaration is what a feed says of files whose rows do not tell whether one is missing.
type Declaration struct {
	From, To    time.Time // it has everything of [From, To)
	EveryHeight bool      // each height of the interval has rows, whose ids begin with it
	Archived    bool      // the archive has what was fed: it holds
}

// Hole is what the archive lacks between two things that it has. Where From is To+1, no height is missing, but the blocks beside
// belong to two branches.
type Hole struct {
	From, To      int64     // heights, both included
	Known         bool      // heights tell what is missing; otherwise it is entries
	After, Before time.Time // it happened between them, both included
}

// Extent gives the times of the first and the last thing that is known; false where nothing is.
func (c Coverage) Extent() (first, last time.Time, some bool) {
	take := func(from, to time.Time) {
		if !some || from.Before(first) {
			first = from
		}
		if to.After(last) {
			last = to
		}
		some = true
	}
	for _, s := range c.Segments {
		take(s.FromTime, s.ToTime)
	}
	for _, d := range c.Declarations {
		take(d.From, d.To.Add(-time.Microsecond))
	}
	return first, last, some
}

// State is that of a window of events that happened in it, or at most so much before or after it. It also gives the holes that
// lie in it, where it is [Missing]. Whether a complete window is [Empty] the caller knows.
func (c Coverage) State(w bucket.Window, delay time.Duration) (State, []Hole) {
	from, to := w.Start.Add(-delay), w.End.Add(delay)
	if c.LeftOut || from.Before(c.Floor) {
		return Unknown, nil
	}
	var holes []Hole
	for _, h := range c.Holes {
		if h.After.Before(to) && !h.Before.Before(from) {
			holes = append(holes, h)
		}
	}
	switch {
	case len(holes) > 0:
		return Missing, holes
	case c.Vouched && c.whole(from, to):
		return Complete, nil
	}
	return Unknown, nil
}

// whole tells whether one segment has everything between two times, with declarations where it does not reach, or they alone.
func (c Coverage) whole(from, to time.Time) bool {
	for _, s := range c.Segments {
		begins := s.From == 0 || s.FromTime.Before(from) || c.declared(from, s.FromTime.Add(time.Microsecond))
		if begins && (!s.LowWater.Before(to) || c.declared(s.LowWater, to)) {
			return true
		}
	}
	return c.declared(from, to)
}

// declared tells whether declarations that hold make up all of an interval.
func (c Coverage) declared(from, to time.Time) bool {
	for _, d := range c.Declarations {
		if d.Archived && !d.From.After(from) && d.To.After(from) {
			from = d.To
		}
	}
	return !from.Before(to)
}
