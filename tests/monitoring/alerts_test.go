package monitoring_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// healthy is what a system exports in which all is well, for some hours: two functions on a stream, runs that come and go.
var healthy = []string{
	`chainmetrics_store_up 1x600`,
	`chainmetrics_store_observed_timestamp_seconds 0+60x600`,
	`chainmetrics_scheduler_last_sweep_timestamp_seconds 0+60x600`,
	`chainmetrics_notices_waiting 3x600`,
	`chainmetrics_notices_oldest_waiting_timestamp_seconds -30+60x600`,
	`chainmetrics_notices_given_up 0x600`,
	`chainmetrics_notifications_given_up 0x600`,
	`chainmetrics_notifications_oldest_waiting_timestamp_seconds -300+60x600`,
	`chainmetrics_stream_lag_seconds{function="archive", stream="s"} 0x600`,
	`chainmetrics_stream_lag_seconds{function="counter", stream="s"} 600x600`,
	`chainmetrics_stream_moved_timestamp_seconds{function="archive", stream="s"} 0+60x600`,
	`chainmetrics_stream_moved_timestamp_seconds{function="counter", stream="s"} 0+60x600`,
	`chainmetrics_source_lag_entries{function="archive", stream="s", pod="a"} 5x600`,
	`chainmetrics_source_lag_entries{function="counter", stream="s", pod="b"} 100x600`,
	`chainmetrics_source_lag_entries{function="counter", stream="s", pod="c"} 100x600`,
	`chainmetrics_source_oldest_unapplied_age_seconds{function="archive", stream="s", pod="a"} 1x600`,
	`chainmetrics_source_oldest_unapplied_age_seconds{function="counter", stream="s", pod="b"} 20x600`,
	`chainmetrics_source_stream_lost{function="archive", stream="s", pod="a"} 0x600`,
	`chainmetrics_source_stream_lost{function="counter", stream="s", pod="b"} 0x600`,
	`chainmetrics_source_entry_stuck{function="counter", stream="s", pod="b"} 0x600`,
	`chainmetrics_source_entries_delivered_total{function="archive", stream="s", pod="a"} 0+50x600`,
	`chainmetrics_source_entries_delivered_total{function="counter", stream="s", pod="b"} 0+50x600`,
	`chainmetrics_source_entries_delivered_total{function="counter", stream="s", pod="c"} 0x600`,
	`chainmetrics_source_entries_quarantined_total{function="counter", stream="s", pod="b"} 2x600`,
	`chainmetrics_dead_letters 3x600`, // of the day before
	`chainmetrics_dead_letters_newest_timestamp_seconds -90000x600`,
	`chainmetrics_metric_errors{metric="fees", stream="s"} 7x600`,
	`chainmetrics_metric_errors_newest_timestamp_seconds{metric="fees", stream="s"} -90000x600`,
	`chainmetrics_pending_ranges{function="counter", stream="s"} 0x600`,
	`chainmetrics_runs_queued{function="counter", bucket_size="hourly"} 40x600`,
	`chainmetrics_runs_oldest_queued_timestamp_seconds{function="counter", bucket_size="hourly"} -600+60x600`,
	`chainmetrics_runs_late{function="counter", bucket_size="hourly"} 0x600`,
	`chainmetrics_feed_failures_total{of="redis", instance="f"} 1x600`,
	`chainmetrics_feed_tip_height{instance="f"} 100+10x600`,
	`chainmetrics_feed_height{instance="f"} 50+10x600`,
	`chainmetrics_feed_blocks_appended_total{instance="f"} 0+10x600`,
}

// scenario is a system in which one thing is wrong.
type scenario struct {
	series []string      // in the place of those that are healthy of the same name
	gone   []string      // names of series that are missing
	not    time.Duration // until then the alert does not fire
	fires  time.Duration // then it does
	labels string
	text   string   // part of what it says
	others []string // alerts that fire with it
}

// with gives the healthy series as a scenario changes them.
func (s scenario) with() []string {
	name := func(line string) string { return line[:strings.IndexAny(line, "{ ")] }
	changed := slices.Clone(s.gone)
	for _, line := range s.series {
		changed = append(changed, name(line))
	}
	kept := slices.DeleteFunc(slices.Clone(healthy), func(line string) bool { return slices.Contains(changed, name(line)) })
	return append(kept, s.series...)
}

// scenarios has one for each alert, or more, told apart by what follows a colon.
var scenarios = map[string]scenario{
	"StoreDown": {
		series: []string{`chainmetrics_store_up 1x9 0x60`, `chainmetrics_store_observed_timestamp_seconds 0+60x9 600x60`},
		not:    11 * time.Minute, fires: 12 * time.Minute, labels: `{}`, text: "PostgreSQL",
	},
	"StoreDown: for long": { // which is told of once
		series: []string{`chainmetrics_store_up 1x9 0x60`, `chainmetrics_store_observed_timestamp_seconds 0+60x9 600x60`},
		not:    11 * time.Minute, fires: 50 * time.Minute, labels: `{}`, text: "PostgreSQL",
	},
	"StoreUnread": {
		series: []string{`chainmetrics_store_observed_timestamp_seconds 0+60x9 600x60`},
		not:    30 * time.Minute, fires: 31 * time.Minute, labels: `{}`, text: "It was last read 21m 0s ago",
	},
	"StoreUnread: since the start": {
		gone: []string{"chainmetrics_store_observed_timestamp_seconds"},
		not:  4 * time.Minute, fires: 5 * time.Minute, labels: `{}`, text: "It has not been read since the scheduler was started",
	},
	"SchedulerAbsent": { // whose sweeps nobody knows either
		series: []string{`chainmetrics_store_up 1x9`, `chainmetrics_store_observed_timestamp_seconds 0+60x9`},
		not:    18 * time.Minute, fires: 21 * time.Minute, labels: `{}`, text: "most other alerts are blind",
	},
	"NoSweep": {
		series: []string{`chainmetrics_scheduler_last_sweep_timestamp_seconds 0+60x9 600x60`}, not: 24 * time.Minute, fires: 27 * time.Minute,
		labels: `{}`, text: "began 17m 0s ago",
	},
	"NoSweep: since the start": {
		series: []string{`chainmetrics_scheduler_last_sweep_timestamp_seconds 0+60x9 stale`}, not: 19 * time.Minute, fires: 20 * time.Minute,
		labels: `{}`, text: "It has not swept since it was started",
	},
	"NoticesUnsent": {
		series: []string{`chainmetrics_notices_oldest_waiting_timestamp_seconds 60x60`}, not: 16 * time.Minute, fires: 17 * time.Minute,
		labels: `{}`, text: "16m 0s",
	},
	"NoticesGivenUp": {
		series: []string{`chainmetrics_notices_given_up 0x9 2x60`}, not: 10 * time.Minute, fires: 11 * time.Minute, labels: `{}`, text: "2 notices",
	},
	"NobodyTold": {
		series: []string{`chainmetrics_notifications_given_up 0x9 2x60`}, not: 14 * time.Minute, fires: 15 * time.Minute, labels: `{}`, text: "were given up",
	},
	"SourceAbsent": {
		series: []string{
			`chainmetrics_source_lag_entries{function="archive", stream="s", pod="a"} 5x60`,
			`chainmetrics_source_lag_entries{function="counter", stream="s", pod="b"} 5x9`,
		},
		gone: []string{"chainmetrics_stream_lag_seconds"}, // while no watermark tells of a chain time
		not:  18 * time.Minute, fires: 25 * time.Minute, labels: `{function="counter", stream="s"}`, text: "counter has no source on s that knows",
	},
	"SourceAbsent: since Redis is down": { // all else that sources export stands still
		series: []string{
			`chainmetrics_stream_moved_timestamp_seconds{function="counter", stream="s"} 0+60x9 600x60`,
			`chainmetrics_source_lag_entries{function="counter", stream="s", pod="b"} 100x9 stale`,
			`chainmetrics_source_oldest_unapplied_age_seconds{function="counter", stream="s", pod="b"} 20x9 stale`,
			`chainmetrics_source_entries_delivered_total{function="counter", stream="s", pod="b"} 0+50x9 450x60`,
		},
		not: 19 * time.Minute, fires: 20 * time.Minute, labels: `{function="counter", stream="s"}`, text: "or it cannot read Redis",
	},
	"FunctionLate": {
		series: []string{`chainmetrics_source_oldest_unapplied_age_seconds{function="counter", stream="s", pod="b"} 0+60x60`},
		not:    10 * time.Minute, fires: 11 * time.Minute, labels: `{function="counter", stream="s"}`, text: "11m 0s ago",
	},
	"StreamLag": {
		series: []string{
			`chainmetrics_source_lag_entries{function="archive", stream="s", pod="a"} 5x60`,
			// Before the archive moves it, at 50000, it has been told of.
			`chainmetrics_source_lag_entries{function="counter", stream="s", pod="b"} 100+1500x30 45100-1500x30`,
		},
		not: 26 * time.Minute, fires: 27 * time.Minute, labels: `{function="counter", stream="s"}`, text: "40600 entries",
	},
	"SourceStandsStill": {
		series: []string{
			`chainmetrics_source_entries_delivered_total{function="archive", stream="s", pod="a"} 0+50x60`,
			`chainmetrics_source_entries_delivered_total{function="counter", stream="s", pod="b"} 0+50x20 1000x60`,
			`chainmetrics_source_entries_delivered_total{function="counter", stream="s", pod="c"} 0x60`,
		},
		not: 38 * time.Minute, fires: 42 * time.Minute, labels: `{function="counter", stream="s"}`, text: "100 entries",
	},
	"StreamLost": {
		series: []string{`chainmetrics_source_stream_lost{function="counter", stream="s", pod="b"} 0x9 1x60`},
		not:    19 * time.Minute, fires: 20 * time.Minute, labels: `{function="counter", stream="s"}`, text: "s has lost entries that counter needs",
	},
	"EntryStuck": {
		series: []string{`chainmetrics_source_entry_stuck{function="counter", stream="s", pod="b"} 0x9 1x60`},
		not:    14 * time.Minute, fires: 15 * time.Minute, labels: `{function="counter", stream="s"}`, text: "fails for one entry",
	},
	"EntryQuarantined": {
		series: []string{`chainmetrics_source_entries_quarantined_total{function="counter", stream="s", pod="b"} 0x9 1x60`},
		not:    9 * time.Minute, fires: 11 * time.Minute, labels: `{function="counter", stream="s"}`, text: "dead letter",
	},
	"ArchiveBehind": {
		series: []string{
			`chainmetrics_stream_lag_seconds{function="archive", stream="s"} 0+600x60`,
			`chainmetrics_stream_lag_seconds{function="counter", stream="s"} 0x60`,
			`chainmetrics_source_lag_entries{function="archive", stream="s", pod="a"} 100+200x60`,
			`chainmetrics_source_lag_entries{function="counter", stream="s", pod="b"} 100x60`,
		},
		not: 21 * time.Minute, fires: 22 * time.Minute, labels: `{stream="s"}`, text: "4400 entries",
	},
	"ArchiveBehind: of a stream whose chain time nobody knows": {
		series: []string{
			`chainmetrics_source_lag_entries{function="archive", stream="s", pod="a"} 100+200x60`,
			`chainmetrics_source_lag_entries{function="counter", stream="s", pod="b"} 100x60`,
		},
		gone: []string{"chainmetrics_stream_lag_seconds"},
		not:  20 * time.Minute, fires: 21 * time.Minute, labels: `{stream="s"}`, text: "4200 entries",
	},
	"DeadLetters": {
		series: []string{
			`chainmetrics_dead_letters 3x9 4x60`, `chainmetrics_dead_letters_newest_timestamp_seconds -90000x9 600x60`,
		},
		not: 10 * time.Minute, fires: 11 * time.Minute, labels: `{}`, text: "4 entries",
	},
	"CoverageHoles": {
		series: []string{`chainmetrics_coverage_holes{stream="s", chain="bitcoin"} 2x90`}, not: 59 * time.Minute, fires: 60 * time.Minute,
		labels: `{chain="bitcoin", stream="s"}`, text: "2 holes",
	},
	"PendingReverts": {
		series: []string{`chainmetrics_pending_reverts{function="counter", stream="s"} 1x90`}, not: 29 * time.Minute, fires: 30 * time.Minute,
		labels: `{function="counter", stream="s"}`, text: "1 reverts of s",
	},
	"PendingRanges": {
		series: []string{`chainmetrics_pending_ranges{function="counter", stream="s"} 1x400`}, not: 359 * time.Minute, fires: 360 * time.Minute,
		labels: `{function="counter", stream="s"}`, text: "Of 1 ranges",
	},
	"FeedFails": {
		series: []string{`chainmetrics_feed_failures_total{of="postgres", instance="f"} 0+1x60`}, not: 12 * time.Minute, fires: 16 * time.Minute,
		labels: `{of="postgres"}`, text: "because of postgres",
	},
	"FeedStandsStill": {
		series: []string{
			`chainmetrics_feed_height{instance="f"} 50x60`, `chainmetrics_feed_blocks_appended_total{instance="f"} 10x60`,
		},
		not: 15 * time.Minute, fires: 17 * time.Minute, labels: `{instance="f"}`, text: "220 blocks",
	},
	"Drift": {
		series: []string{`chainmetrics_drift_newest_timestamp_seconds{metric="fees", bucket_size="daily"} _x10 600x60`},
		not:    9 * time.Minute, fires: 10 * time.Minute, labels: `{bucket_size="daily", metric="fees"}`, text: "changed daily buckets",
	},
	"RunsFailed": {
		series: []string{`chainmetrics_runs_failed{metric="fees", bucket_size="daily"} _x10 4x60`}, not: 10 * time.Minute, fires: 11 * time.Minute,
		labels: `{bucket_size="daily", metric="fees"}`, text: "Of 4 daily windows",
	},
	"RunsLate": {
		series: []string{`chainmetrics_runs_late{function="counter", bucket_size="hourly"} 0x9 5x60`}, not: 10 * time.Minute, fires: 11 * time.Minute,
		labels: `{bucket_size="hourly", function="counter"}`, text: "5 hourly runs",
	},
	"RunsWait": {
		series: []string{`chainmetrics_runs_oldest_queued_timestamp_seconds{function="counter", bucket_size="hourly"} 60x400`},
		not:    371 * time.Minute, fires: 372 * time.Minute, labels: `{bucket_size="hourly", function="counter"}`, text: "6h 11m 0s",
	},
	"MetricErrors": {
		series: []string{
			`chainmetrics_metric_errors{metric="fees", stream="s"} 7x9 8x60`,
			`chainmetrics_metric_errors_newest_timestamp_seconds{metric="fees", stream="s"} -90000x9 600x60`,
		},
		not: 19 * time.Minute, fires: 20 * time.Minute, labels: `{metric="fees", stream="s"}`, text: "8 events of s",
	},
}

// quiet has what looks wrong, and is not.
var quiet = map[string]scenario{
	"nothing": {},
	"a history that is being fed": { // some blocks are hours
		series: []string{
			`chainmetrics_stream_lag_seconds{function="archive", stream="s"} 20000x600`,
			`chainmetrics_stream_lag_seconds{function="counter", stream="s"} 0x600`,
			`chainmetrics_source_lag_entries{function="archive", stream="s", pod="a"} 9000x600`,
			`chainmetrics_source_lag_entries{function="counter", stream="s", pod="b"} 8600x600`,
		},
	},
	"an archive that applies what has come at once": {
		series: []string{
			`chainmetrics_source_lag_entries{function="archive", stream="s", pod="a"} 20000x600`,
			`chainmetrics_source_lag_entries{function="counter", stream="s", pod="b"} 20000x600`,
		},
	},
	"an archive that was detached": {
		series: []string{
			`chainmetrics_stream_detached{function="archive", stream="s"} 1x600`,
			`chainmetrics_stream_lag_seconds{function="counter", stream="s"} 0x600`,
			`chainmetrics_source_lag_entries{function="archive", stream="s", pod="a"} 100+100x600`,
			`chainmetrics_source_lag_entries{function="counter", stream="s", pod="b"} 100x600`,
		},
	},
	"a function that was detached": { // and stays away, while its source goes on
		series: []string{
			`chainmetrics_stream_detached{function="counter", stream="s"} 1x600`,
			`chainmetrics_stream_lag_seconds{function="archive", stream="s"} 0x600`,
			`chainmetrics_stream_moved_timestamp_seconds{function="archive", stream="s"} 0+60x600`,
			`chainmetrics_stream_moved_timestamp_seconds{function="counter", stream="s"} 0x600`,
			`chainmetrics_source_lag_entries{function="archive", stream="s", pod="a"} 5x600`,
			`chainmetrics_source_lag_entries{function="counter", stream="s", pod="b"} 100+3000x600`,
			`chainmetrics_source_oldest_unapplied_age_seconds{function="archive", stream="s", pod="a"} 1x600`,
			`chainmetrics_source_oldest_unapplied_age_seconds{function="counter", stream="s", pod="b"} 0+60x600`,
			`chainmetrics_source_stream_lost{function="counter", stream="s", pod="b"} 1x600`,
			`chainmetrics_source_entries_delivered_total{function="archive", stream="s", pod="a"} 0+50x600`,
			`chainmetrics_source_entries_delivered_total{function="counter", stream="s", pod="b"} 100x600`,
		},
	},
	"a function that was detached, and its source deleted": {
		series: []string{
			`chainmetrics_stream_detached{function="counter", stream="s"} 1x600`,
			`chainmetrics_stream_lag_seconds{function="archive", stream="s"} 0x600`,
			`chainmetrics_stream_moved_timestamp_seconds{function="archive", stream="s"} 0+60x600`,
			`chainmetrics_stream_moved_timestamp_seconds{function="counter", stream="s"} 0x600`,
			`chainmetrics_source_lag_entries{function="archive", stream="s", pod="a"} 5x600`,
			`chainmetrics_source_oldest_unapplied_age_seconds{function="archive", stream="s", pod="a"} 1x600`,
			`chainmetrics_source_stream_lost{function="archive", stream="s", pod="a"} 0x600`,
			`chainmetrics_source_entries_delivered_total{function="archive", stream="s", pod="a"} 0+50x600`,
		},
	},
}

// TestQuietSystems for as long as any alert waits.
func TestQuietSystems(t *testing.T) {
	t.Parallel()
	for name, s := range quiet {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			engine, series := newEngine(t), record(t, s.with())
			for _, rule := range rules(t) {
				rule.For = 0 // not even for a moment
				for at := time.Duration(0); at <= 10*time.Hour; at += 10 * time.Minute {
					if found := evaluate(t, engine, series, rule, at); len(found) > 0 {
						t.Errorf("%s fires after %s: %v", rule.Alert, at, found)
						break
					}
				}
			}
		})
	}
}

func TestEveryAlertFires(t *testing.T) {
	t.Parallel()
	all := rules(t)
	alerts, known := map[string]bool{}, map[string]bool{}
	for _, rule := range all {
		alerts[strings.TrimPrefix(rule.Alert, "Chainmetrics")] = true
	}
	for name := range scenarios {
		alert, _, _ := strings.Cut(name, ":")
		known[alert] = true
	}
	if diff := cmp.Diff(alerts, known); diff != "" {
		t.Errorf("alerts and scenarios differ (-alerts +scenarios)\n%s", diff)
	}
	for name, s := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			name, _, _ := strings.Cut(name, ":")
			engine, series := newEngine(t), record(t, s.with())
			fired := map[string]bool{}
			for _, rule := range all {
				found := firing(t, engine, series, rule, s.fires)
				if len(found) > 0 {
					fired[strings.TrimPrefix(rule.Alert, "Chainmetrics")] = true
				}
				if rule.Alert != "Chainmetrics"+name {
					continue
				}
				if len(firing(t, engine, series, rule, s.not)) > 0 {
					t.Errorf("it fires after %s", s.not)
				}
				text, ok := found[s.labels]
				if !ok || len(found) != 1 || !strings.Contains(text, s.text) {
					t.Errorf("after %s it says %v, want %s with %q", s.fires, found, s.labels, s.text)
				}
			}
			want := append([]string{name}, s.others...)
			slices.Sort(want)
			if diff := cmp.Diff(want, slices.Sorted(maps.Keys(fired))); diff != "" {
				t.Errorf("what fires (-want +got)\n%s", diff)
			}
		})
	}
}
