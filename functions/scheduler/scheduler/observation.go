package scheduler

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

var (
	ofStream  = []string{"function", "stream"}
	ofRuns    = []string{"function", "bucket_size"}
	ofWindows = []string{"metric", "bucket_size"}
	ofErrors  = []string{"metric", "stream"}
	ofChain   = []string{"stream", "chain"}

	upDesc       = describe("store_up", "Whether the store gave an answer, when it was last asked.")
	observedDesc = describe("store_observed_timestamp_seconds", "When the store was last read, of which all else is shown.")

	lowWaterDesc = describe("stream_low_water_timestamp_seconds",
		"Chain time up to which a function has applied everything that is expected of a stream.", ofStream...)
	movedDesc    = describe("stream_moved_timestamp_seconds", "When a function's watermark on a stream last moved.", ofStream...)
	detachedDesc = describe("stream_detached", "Whether a function was detached from a stream, so that it stays behind on purpose.",
		ofStream...)
	lagDesc = describe("stream_lag_seconds",
		"Chain time that a function lacks of what another one, the archive among them, has applied of the stream.", ofStream...)
	acceptedDesc = describe("stream_accepted_holes", "Losses of entries that a function goes on behind, since a person has accepted them.",
		ofStream...)
	revertsDesc = describe("pending_reverts", "Reorganisations of which a function still counts what was taken back.", ofStream...)
	rangesDesc  = describe("pending_ranges", "Ranges of entries that a function was moved over, of which no runs were requested yet.",
		ofStream...)

	queuedDesc    = describe("runs_queued", "Runs that wait to be carried out, those of paused metrics aside.", ofRuns...)
	runningDesc   = describe("runs_running", "Runs under way.", ofRuns...)
	lateDesc      = describe("runs_late", "Runs without a result beyond the deadline of their metric.", ofRuns...)
	oldestRunDesc = describe("runs_oldest_queued_timestamp_seconds",
		"When the oldest run was requested of those that wait and may be begun.", ofRuns...)
	failedDesc      = describe("runs_failed", "Windows whose newest run has failed.", ofWindows...)
	driftsDesc      = describe("drifts", "Windows of which a run has changed buckets though nothing explains it, in the last week.", ofWindows...)
	newestDriftDesc = describe("drift_newest_timestamp_seconds", "When that last happened.", ofWindows...)

	deadLettersDesc  = describe("dead_letters", "Entries that could not be read, or were given up.")
	newestLetterDesc = describe("dead_letters_newest_timestamp_seconds", "When the newest of them was recorded.")
	errorsDesc       = describe("metric_errors", "Events that a metric's expressions have failed on, and observations without room.", ofErrors...)
	newestErrorDesc  = describe("metric_errors_newest_timestamp_seconds", "When the newest of them was counted.", ofErrors...)
	noticesDesc      = describe("notices_waiting", "Notices that were not sent yet.")
	oldestNoticeDesc = describe("notices_oldest_waiting_timestamp_seconds", "When the oldest of them was written.")
	givenUpDesc      = describe("notices_given_up", "Notices that were refused so often that they are not sent any more.")
	untoldDesc       = describe("notifications_waiting", "Notifications that nobody was told of yet.")
	oldestUntoldDesc = describe("notifications_oldest_waiting_timestamp_seconds", "When the event of the oldest of them came.")
	neverToldDesc    = describe("notifications_given_up", "Notifications that were given up in the last week.")
	holesDesc        = describe("coverage_holes", "Holes between the blocks that the archive has.", ofChain...)
	missingDesc      = describe("coverage_missing_blocks", "Blocks that those holes are.", ofChain...)
)

// described is all that a collector may show.
var described []*prometheus.Desc

func describe(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc("chainmetrics_"+name, help, labels, nil)
	described = append(described, d)
	return d
}

type shower func(d *prometheus.Desc, value float64, labels ...string)

// showStreams shows where the functions are. One that is detached lags on purpose.
func showStreams(show shower, seen postgres.Observation) {
	furthest := make(map[string]time.Time)
	for _, m := range seen.Marks {
		if m.LowWater.After(furthest[m.Stream]) {
			furthest[m.Stream] = m.LowWater
		}
	}
	for _, m := range seen.Marks {
		show(movedDesc, seconds(m.UpdatedAt), m.Function, m.Stream)
		if m.Function != archive.Name {
			show(rangesDesc, float64(m.Ranges), m.Function, m.Stream)
		}
		if m.DetachedAt != nil {
			show(detachedDesc, 1, m.Function, m.Stream)
		}
		if m.LowWater.IsZero() {
			continue
		}
		show(lowWaterDesc, seconds(m.LowWater), m.Function, m.Stream)
		if m.DetachedAt == nil {
			show(lagDesc, furthest[m.Stream].Sub(m.LowWater).Seconds(), m.Function, m.Stream)
		}
	}
	accepted, reverts := make(map[[2]string]int), make(map[[2]string]int)
	for _, h := range seen.Holes {
		accepted[[2]string{h.Function, h.Stream}]++
	}
	for _, r := range seen.PendingReverts {
		reverts[[2]string{r.Function, r.Stream}]++
	}
	for of, n := range accepted {
		show(acceptedDesc, float64(n), of[0], of[1])
	}
	for of, n := range reverts {
		show(revertsDesc, float64(n), of[0], of[1])
	}
}

func showRuns(show shower, seen postgres.Observation) {
	for _, w := range seen.Waiting {
		show(queuedDesc, float64(w.Queued), w.Function, w.Size)
		show(runningDesc, float64(w.Running), w.Function, w.Size)
		show(lateDesc, float64(w.Late), w.Function, w.Size)
		if w.Since != nil {
			show(oldestRunDesc, seconds(*w.Since), w.Function, w.Size)
		}
	}
	for _, f := range seen.FailedRuns {
		show(failedDesc, float64(f.Windows), f.Metric, f.Size)
	}
	for _, d := range seen.Drifts {
		show(driftsDesc, float64(d.Windows), d.Metric, d.Size)
		show(newestDriftDesc, seconds(d.Newest), d.Metric, d.Size)
	}
}

func showTroubles(show shower, seen postgres.Troubles) {
	show(deadLettersDesc, float64(seen.DeadLetters))
	if seen.DeadLetterAt != nil {
		show(newestLetterDesc, seconds(*seen.DeadLetterAt))
	}
	failed, newest := make(map[[2]string]int64), make(map[[2]string]time.Time)
	for _, e := range seen.MetricErrors {
		of := [2]string{e.Metric, e.Stream}
		failed[of] += e.Count
		if e.LastSeen.After(newest[of]) {
			newest[of] = e.LastSeen
		}
	}
	for of, n := range failed {
		show(errorsDesc, float64(n), of[0], of[1])
		show(newestErrorDesc, seconds(newest[of]), of[0], of[1])
	}
	show(noticesDesc, float64(seen.Notices.Waiting))
	if seen.Notices.Since != nil {
		show(oldestNoticeDesc, seconds(*seen.Notices.Since))
	}
	show(givenUpDesc, float64(seen.Notices.GivenUp))
	show(untoldDesc, float64(seen.Notifications.Waiting))
	if seen.Notifications.Since != nil {
		show(oldestUntoldDesc, seconds(*seen.Notifications.Since))
	}
	show(neverToldDesc, float64(seen.Notifications.GivenUp))
	for _, m := range seen.MissingBlocks {
		show(holesDesc, float64(m.Holes), m.Stream, m.Chain)
		show(missingDesc, float64(m.Blocks), m.Stream, m.Chain)
	}
}

// seconds gives a time as Prometheus has it: seconds since 1970.
func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }
