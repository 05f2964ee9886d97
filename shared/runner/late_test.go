package runner_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// TestANewBranchReachesIntoFinalWindows from which nothing was taken back, with blocks that happened earlier than those of the old
// one: each window is told of once, and confirmed once more.
func TestANewBranchReachesIntoFinalWindows(t *testing.T) {
	t.Parallel()
	const hours = `select string_agg(to_char(bucket_start, 'HH24') || ' ' || value || ' ' || final, ', ' order by bucket_start)
		from metric_buckets where bucket_size = 'hourly'`
	revert := revertTo(t, 1, events.ID{Minor: 10})
	old := append(chain(0, 0, 2, events.ID{}), chain(0, 8, 10, events.ID{Minor: 2})...)
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

const tips = `
name: tips
type: counter
calculation_logic: {stream: {event_type: tip, value: event.amount}}
chains: [testchain]
bucket_sizes: [daily]
`

const tipDays = `select string_agg(bucket_start::date || ' ' || value || ' ' || final, ', ' order by bucket_start)
	from metric_buckets where metric = 'tips'`

// TestWhatComesBeforeTheFirstWindow that was due, and so late: its window is computed too, and final, unless it begins before the
// metric does.
func TestWhatComesBeforeTheFirstWindow(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ lines, want string }{
		"any start":   {"", "2024-01-31 4 true, 2024-02-03 1 true, 2024-02-05 2 true, 2024-02-09 2 false"},
		"start date":  {"start_date: 2024-02-01\n", "2024-01-31 4 false, 2024-02-03 1 true, 2024-02-05 2 true, 2024-02-09 2 false"},
		"no catch-up": {"catchup: false\n", "2024-01-31 4 false, 2024-02-03 1 true, 2024-02-05 2 true, 2024-02-09 2 false"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			pipeline.Apply(t, w.store, "tips.yaml", []byte(tips+test.lines))
			w.execute(t, "update metric_registry set created_at = '2024-02-01Z'")
			w.applyTips(t, tip(1, 3, 1), tip(2, 5, 2))
			w.tick(t)
			w.applyTips(t, tip(3, 0, 3))
			w.applyTips(t, tip(4, 0, 1), tip(5, 9, 2))
			w.tick(t)
			w.expect(t, tipDays, test.want)
			w.expect(t, "select count(*) from (select from runs group by metric_id, bucket_start having count(*) > 1) s", "0")
		})
	}
}

// TestTheFirstWindowIsThatOfAllThatWasApplied, also where the archive learns later that something had happened before.
func TestTheFirstWindowIsThatOfAllThatWasApplied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pipeline.Apply(t, w.store, "tips.yaml", []byte(tips))
	batch := []events.Delivery{tip(1, 3, 1), tip(2, 5, 2), tip(3, 0, 3)}
	if _, _, err := w.function.Apply(t.Context(), tipStream, batch); err != nil {
		t.Fatal(err)
	}
	for n := range batch {
		if _, _, err := w.archive.Apply(t.Context(), tipStream, batch[n:n+1]); err != nil {
			t.Fatal(err)
		}
		w.tick(t)
	}
	w.expect(t, tipDays, "2024-01-31 3 true, 2024-02-03 1 true, 2024-02-05 2 false")
}

const tipStream = "blockchain_events:tips"

// tip is a flat event, an hour into a day.
func tip(n uint64, day, amount int) events.Delivery {
	at := genesis.AddDate(0, 0, day).Add(time.Hour)
	return events.Delivery{
		Stream: tipStream, ID: events.ID{Minor: n}, Predecessor: events.ID{Minor: n - 1}, Type: events.TypeEvent,
		Hash: fmt.Sprintf("%064x", n), Chain: "testchain", Time: at, Appended: genesis.AddDate(0, 6, 0),
		Data: fmt.Appendf(nil, `{"type": "tip", "chain": "testchain", "timestamp": %d, "amount": %d}`, at.Unix(), amount),
	}
}

func (w *world) applyTips(t *testing.T, batch ...events.Delivery) {
	t.Helper()
	if _, _, err := w.archive.Apply(t.Context(), tipStream, batch); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.function.Apply(t.Context(), tipStream, batch); err != nil {
		t.Fatal(err)
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
