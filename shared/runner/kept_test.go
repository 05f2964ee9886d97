package runner_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
)

const keptMetrics = `
name: kept
type: counter
calculation_logic: {stream: {event_type: block, value: event.gas_used}}
chains: [testchain]
bucket_sizes: [hourly, daily, weekly, monthly]
---
name: kept_seen
type: counter
calculation_logic: {stream: {event_type: block, value: event.gas_used, time: event.seen_at}}
chains: [testchain]
bucket_sizes: [daily, monthly]
`

// keptSizes are those of the metrics.
var keptSizes = map[string][]bucket.Size{
	"kept":      {bucket.Hourly, bucket.Daily, bucket.Weekly, bucket.Monthly},
	"kept_seen": {bucket.Daily, bucket.Monthly},
}

// keptSkew is how far the windows of blocks may lie from these.
var keptSkew = map[string]time.Duration{"kept_seen": 7 * 24 * time.Hour}

// keptWindow is a window of one of the metrics.
type keptWindow struct {
	metric string
	size   bucket.Size
	start  time.Time
}

func (w keptWindow) String() string {
	return fmt.Sprintf("%s %s %s", w.metric, w.size, w.start.Format("2006-01-02 15"))
}

// above tells whether the archive has all that may belong to the window.
func (w keptWindow) above(floor time.Time) bool {
	return !w.start.Add(-keptSkew[w.metric]).Before(floor)
}

// ended tells whether all that belongs to the window has come, as far as the newest block says.
func (w keptWindow) ended(newest time.Time) bool {
	return !w.size.Window(w.start).End.Add(keptSkew[w.metric]).After(newest)
}

// keptWindows gives the windows of all metrics that overlap a range of times.
func keptWindows(from, to time.Time) (all []keptWindow) {
	for metric, sizes := range keptSizes {
		for _, size := range sizes {
			for w := range size.Windows(from, to) {
				all = append(all, keptWindow{metric, size, w.Start})
			}
		}
	}
	return all
}

// keptBucket is what a bucket has to be.
type keptBucket struct {
	gas   uint64
	final bool
}

// kept compares all buckets of the metrics.
func (w *world) kept(t *testing.T, when string, want map[keptWindow]keptBucket) {
	t.Helper()
	wanted := make(map[string]string, len(want))
	for window, b := range want {
		wanted[window.String()] = fmt.Sprint(b.gas, " ", b.final)
	}
	const query = `select concat_ws(' ', metric, bucket_size, to_char(bucket_start at time zone 'UTC', 'YYYY-MM-DD HH24')),
			value || ' ' || final
		from metric_buckets where metric like 'kept%'`
	if diff := cmp.Diff(wanted, w.pairs(t, query)); diff != "" {
		t.Errorf("%s: buckets differ (-want +got):\n%s", when, diff)
	}
}

// outcomes compares how the newest runs of windows have ended that are younger than another run.
func (w *world) outcomes(t *testing.T, when, after string, windows []keptWindow, floor time.Time) {
	t.Helper()
	wanted := make(map[string]string, len(windows))
	for _, window := range windows {
		wanted[window.String()] = "skipped"
		if window.above(floor) {
			wanted[window.String()] = "succeeded"
		}
	}
	query := `select distinct on (1) concat_ws(' ', name, bucket_size, to_char(bucket_start at time zone 'UTC', 'YYYY-MM-DD HH24')), state
		from runs join metric_registry using (metric_id) where name like 'kept%' and run_id > ` + after + " order by 1, run_id desc"
	if diff := cmp.Diff(wanted, w.pairs(t, query)); diff != "" {
		t.Errorf("%s: runs differ (-want +got):\n%s", when, diff)
	}
}

func (w *world) pairs(t *testing.T, query string, arguments ...any) map[string]string {
	t.Helper()
	rows, err := w.database.Query(t.Context(), query, arguments...)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	var key, value string
	if _, err := pgx.ForEachRow(rows, []any{&key, &value}, func() error { all[key] = value; return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// settleAll ticks, for all sizes, until no run is queued.
func (w *world) settleAll(t *testing.T) {
	t.Helper()
	for {
		for _, size := range bucket.Sizes() {
			tick := events.Tick{Function: "counter", BucketSize: size.String()}
			if err := w.function.Tick(t.Context(), tick, genesis.AddDate(1, 0, 0)); err != nil {
				t.Fatal(err)
			}
		}
		if w.text(t, "select count(*) from runs where state = 'queued'") == "0" {
			return
		}
		w.execute(t, "update runs set not_before = now() where state = 'queued'")
	}
}

// requestKept queues runs of all windows of the metrics, as a person may.
func (w *world) requestKept(t *testing.T, from, to time.Time) {
	t.Helper()
	for name, sizes := range keptSizes {
		m, err := w.store.Metric(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range sizes {
			if _, err := w.store.RequestRuns(t.Context(), m, size, from, to); err != nil {
				t.Fatal(err)
			}
		}
	}
}
