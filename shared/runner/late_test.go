package runner_test

import (
	"fmt"
	"testing"

	"github.com/chainmetrics/chainmetrics/events"
)

// TestANewBranchReachesIntoFinalWindows from which nothing was taken back, with blocks that come earlier than those of the old one
// did: each window is told of once, and confirmed once more.
func TestANewBranchReachesIntoFinalWindows(t *testing.T) {
	t.Parallel()
	const hours = `select string_agg(to_char(bucket_start, 'HH24') || ' ' || value || ' ' || final, ', ' order by bucket_start)
		from metric_buckets where bucket_size = 'hourly'`
	revert := revertTo(t, 1, events.ID{Minor: 10})
	old := []events.Delivery{block(0, 0, events.ID{}), block(0, 1, events.ID{Minor: 1}), block(0, 8, events.ID{Minor: 2}), block(0, 9, events.ID{Minor: 9})}
	first := block(1, 2, events.ID{Major: 1})
	rest := []events.Delivery{block(1, 4, events.ID{Major: 1, Minor: 3}), block(1, 9, events.ID{Major: 1, Minor: 5})}
	for name, batches := range map[string][][]events.Delivery{
		"at once":       {append([]events.Delivery{revert, first}, rest...)},
		"by and by":     {{revert}, {first}, rest[:1], rest[1:]},
		"after a while": {{revert, first}, rest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.apply(t, old)
			w.tick(t)
			w.expect(t, hours, "00 1 true, 04 17 false")
			w.forget(t)
			for _, batch := range batches {
				w.apply(t, batch)
			}
			w.expect(t, `select string_agg(details ->> 'reason' || ' ' || to_char(bucket_start, 'HH24'), ', ' order by bucket_start)
				from outbox where bucket_size = 'hourly' and type ~ 'revised'`, "late 01, late 02")
			w.tick(t)
			w.tick(t)
			w.expect(t, hours, "00 1 true, 01 1002 true, 02 1004 true, 04 1009 false")
			w.expect(t, "select string_agg(state, ' ') from runs where bucket_size = 'hourly' and reason = 'late'", "succeeded succeeded")
		})
	}
}

// revertTo takes back what came after a height of the first branch, up to an entry.
func revertTo(t *testing.T, height uint64, predecessor events.ID) events.Delivery {
	t.Helper()
	revert := events.Revert{Ancestor: events.ID{Minor: height + 1}, Number: height, Hash: fmt.Sprintf("h0-%d", height)}
	entry, err := events.NewRevertEntry(events.ID{Major: predecessor.Major + 1}, "testchain", revert, genesis)
	if err != nil {
		t.Fatal(err)
	}
	return events.NewDelivery(stream, entry, predecessor)
}
