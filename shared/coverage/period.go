package coverage

import (
	"iter"
	"slices"
	"time"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
)

// Period is consecutive windows in one state.
type Period struct {
	From, To time.Time // of the first window the start, of the last one the end
	Windows  int
	State    State
	Holes    []Hole // that lie in each of them, where that is Missing
}

// Periods puts windows together, which follow each other, by their states. Eventful has the starts of those in which something
// happened.
func (c Coverage) Periods(windows iter.Seq[bucket.Window], delay time.Duration, eventful map[time.Time]bool) []Period {
	var all []Period
	for w := range windows {
		state, holes := c.State(w, delay)
		if state == Complete && !eventful[w.Start] {
			state = Empty
		}
		if last := len(all) - 1; last >= 0 && all[last].State == state && slices.Equal(all[last].Holes, holes) {
			all[last].To = w.End
			all[last].Windows++
			continue
		}
		all = append(all, Period{From: w.Start, To: w.End, Windows: 1, State: state, Holes: holes})
	}
	return all
}
