package aggregate_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/counter/counter"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

const visits = `
name: visits
type: counter
calculation_logic: {stream: {event_type: visit, each: event.to, dimensions: {to: it}}}
max_dimensions: 5
chains: [testchain]
bucket_sizes: [daily, weekly]
`

// TestTheFirstSetsOfAWindowAreAdmitted gives the entries in overlapping batches of any size to two functions at once,
// which meet windows that were not counted so far. A plain loop over the entries says what is to come out.
func TestTheFirstSetsOfAWindowAreAdmitted(t *testing.T) {
	t.Parallel()
	url := harness.Database(t)
	store := pipeline.Store(t, url)
	database := pipeline.Database(t, url)
	pipeline.Apply(t, store, "test.yaml", []byte(visits))
	// One row, since rows locked in another order than the functions' may end in a deadlock.
	const forget = "delete from windows where ctid = (select ctid from windows where sets > 3 order by random() limit 1)"
	const entries = 400
	random := rand.New(rand.NewPCG(1, 2))
	all := make([]events.Delivery, entries)
	want := map[string]int{}
	admitted := map[string][]string{} // the sets of each window
	refused := map[string]int{}
	var newest [2]uint64
	for i := range all {
		to := make([]string, random.IntN(4))
		for j := range to {
			to[j] = fmt.Sprint(int(random.ExpFloat64() * 5))
		}
		all[i] = delivery(uint64(i+1), "visit", map[string]any{"to": to})
		for _, set := range to {
			for which, size := range []bucket.Size{bucket.Daily, bucket.Weekly} {
				window := size.String() + size.Window(all[i].Time).Start.Format(" 2006-01-02")
				if !slices.Contains(admitted[window], set) && len(admitted[window]) == 5 {
					refused[size.String()]++
					newest[which] = uint64(i + 1)
					continue
				}
				if !slices.Contains(admitted[window], set) {
					admitted[window] = append(admitted[window], set)
				}
				want[window+" "+set]++
			}
		}
	}
	applyRaggedly(t, store, all, func() {
		if _, err := database.Exec(t.Context(), forget); err != nil {
			t.Error(err)
		}
	})

	got := map[string]int{}
	for _, size := range []bucket.Size{bucket.Daily, bucket.Weekly} {
		for _, row := range rows(t, store, "visits", size) {
			n, _ := row.Value.Int64()
			got[size.String()+row.Window.Start.Format(" 2006-01-02 ")+row.Dimensions["to"]] = int(n)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	troubles, err := store.Troubles(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]int{}
	for i, e := range troubles.MetricErrors {
		told[e.Reason] = int(e.Count)
		if e.Sample.Minor != newest[i] {
			t.Errorf("%s: newest entry %s, want %d", e.Reason, e.Sample, newest[i])
		}
	}
	reasons := map[string]int{
		"dimensions: more than 5 sets in a window, daily":  refused["daily"],
		"dimensions: more than 5 sets in a window, weekly": refused["weekly"],
	}
	if diff := cmp.Diff(reasons, told); diff != "" || refused["daily"] == 0 {
		t.Errorf("%s", diff)
	}
}

// TestMoreSetsMayBeAllowed raises the limit of a metric that has buckets: sets that come from then on find room.
func TestMoreSetsMayBeAllowed(t *testing.T) {
	t.Parallel()
	store := pipeline.Store(t, harness.Database(t))
	definition := func(most int) []byte {
		return fmt.Appendf(nil, `
name: visits
type: counter
calculation_logic: {stream: {event_type: visit, dimensions: {to: event.to}}}
max_dimensions: %d
chains: [testchain]
bucket_sizes: [monthly]
`, most)
	}
	function := aggregate.NewFunction(counter.Type{}, store)
	visit := func(n uint64, to string) events.Delivery { return delivery(n, "visit", map[string]any{"to": to}) }
	pipeline.Apply(t, store, "test.yaml", definition(2))
	apply(t, function, 4, visit(1, "a"), visit(2, "b"), visit(3, "c"), visit(4, "a"))
	pipeline.Apply(t, store, "test.yaml", definition(3))
	apply(t, function, 3, visit(5, "c"), visit(6, "d"), visit(7, "b"))
	pipeline.Apply(t, store, "test.yaml", definition(1)) // takes nothing away
	apply(t, function, 2, visit(8, "a"), visit(9, "e"))
	want := map[string]string{"a": "3", "b": "2", "c": "1"}
	got := map[string]string{}
	for _, row := range rows(t, store, "visits", bucket.Monthly) {
		got[row.Dimensions["to"]] = row.Value.String()
		if !row.Window.Start.Equal(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("another window: %s", row.Window.Start)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestAWindowThatLostItsBucketsHasRoom takes away what was counted, as whoever drops a partition does.
func TestAWindowThatLostItsBucketsHasRoom(t *testing.T) {
	t.Parallel()
	url := harness.Database(t)
	store := pipeline.Store(t, url)
	pipeline.Apply(t, store, "test.yaml", []byte(visits))
	function := aggregate.NewFunction(counter.Type{}, store)
	visit := func(n uint64, to ...string) events.Delivery { return delivery(n, "visit", map[string]any{"to": to}) }
	apply(t, function, 1, visit(1, "a", "b", "c", "d", "e"))
	if _, err := pipeline.Database(t, url).Exec(t.Context(), "delete from metrics_data where bucket_size = 'weekly'"); err != nil {
		t.Fatal(err)
	}
	apply(t, function, 1, visit(2, "f", "a"))
	got := map[string][]string{}
	for _, size := range []bucket.Size{bucket.Daily, bucket.Weekly} {
		for _, row := range rows(t, store, "visits", size) {
			got[size.String()] = append(got[size.String()], row.Dimensions["to"]+" "+row.Value.String())
		}
	}
	want := map[string][]string{"daily": {"a 2", "b 1", "c 1", "d 1", "e 1"}, "weekly": {"a 1", "f 1"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestFullWindowsAreCountedOnce fills a window while the counts are not kept: they are, once something comes.
func TestFullWindowsAreCountedOnce(t *testing.T) {
	t.Parallel()
	url := harness.Database(t)
	store, database := pipeline.Store(t, url), pipeline.Database(t, url)
	pipeline.Apply(t, store, "test.yaml", []byte(visits))
	function := aggregate.NewFunction(counter.Type{}, store)
	visit := func(n uint64, to ...string) events.Delivery { return delivery(n, "visit", map[string]any{"to": to}) }
	apply(t, function, 1, visit(1, "a", "b", "c", "d", "e"))
	if _, err := database.Exec(t.Context(), "truncate windows"); err != nil {
		t.Fatal(err)
	}
	apply(t, function, 1, visit(2, "a", "x"))
	var counted string
	const query = "select string_agg(bucket_size || ' ' || sets, ', ' order by bucket_size) from windows"
	if err := database.QueryRow(t.Context(), query).Scan(&counted); err != nil || counted != "daily 5, weekly 5" {
		t.Errorf("counted: %s, %v", counted, err)
	}
}
