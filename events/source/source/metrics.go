package source

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chainmetrics/chainmetrics/events"
)

// Outcomes of deliveries, which label chainmetrics_source_deliveries_total.
const (
	outcomeApplied     = "applied"
	outcomeDuplicate   = "duplicate"   // all was applied before
	outcomeRefused     = "refused"     // the function stands elsewhere
	outcomeEarly       = "early"       // the function has not applied the batch before, which was not answered yet
	outcomeUnavailable = "unavailable" // 5xx, 429, 408
	outcomeRejected    = "rejected"    // any other answer
	outcomeUnreachable = "unreachable" // no answer
)

// outcomeOf names what came of a delivery.
func outcomeOf(said answer, err error) string {
	refusal, answered := errors.AsType[*answerError](err)
	switch {
	case answered && (refusal.status >= 500 || refusal.status == http.StatusTooManyRequests ||
		refusal.status == http.StatusRequestTimeout):
		return outcomeUnavailable
	case answered:
		return outcomeRejected
	case err != nil:
		return outcomeUnreachable
	case said.refused:
		return outcomeRefused
	case said.applied == 0:
		return outcomeDuplicate
	}
	return outcomeApplied
}

// outcome names what came of an attempt.
func (a *attempt) outcome() string {
	outcome := outcomeOf(a.said, a.err)
	if outcome == outcomeRefused && a.ahead {
		return outcomeEarly
	}
	return outcome
}

var (
	lagDesc = prometheus.NewDesc("chainmetrics_source_lag_entries",
		"Entries in the stream that the function has not applied.", []string{"stream"}, nil)
	ageDesc = prometheus.NewDesc("chainmetrics_source_oldest_unapplied_age_seconds",
		"Time since the append of the oldest entry that the function has not applied, as its id or its feed says; 0 where there is none.",
		[]string{"stream"}, nil)
	lostDesc = prometheus.NewDesc("chainmetrics_source_stream_lost",
		"Whether the stream does not go on from the function's watermark, so that nothing is delivered.", []string{"stream"}, nil)
	stuckDesc = prometheus.NewDesc("chainmetrics_source_entry_stuck",
		"Whether one entry fails again and again, so that nothing after it is delivered.", []string{"stream"}, nil)
	standbyDesc = prometheus.NewDesc("chainmetrics_source_standby",
		"Whether another source delivers the stream.", []string{"stream"}, nil)
)

type counters struct {
	deliveries, entries, refusals, quarantined *prometheus.CounterVec
}

func newCounters() counters {
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "chainmetrics_source_" + name, Help: help}, labels)
	}
	return counters{
		deliveries: vector("deliveries_total", "Batches sent, by what came of it.", "stream", "outcome"),
		entries:    vector("entries_delivered_total", "Entries that the function applied from this source's batches.", "stream"),
		refusals:   vector("refusals_total", "Answers that the function stands elsewhere (409).", "stream"),
		quarantined: vector("entries_quarantined_total", "Entries that were given up, since the function failed for each of them alone.",
			"stream"),
	}
}

// begin shows a stream before anything has happened to it: from nothing to one is no increase.
func (c counters) begin(stream string) {
	c.entries.WithLabelValues(stream)
	c.refusals.WithLabelValues(stream)
	c.quarantined.WithLabelValues(stream)
	c.deliveries.WithLabelValues(stream, outcomeApplied)
}

// Describe implements prometheus.Collector.
func (s *Source) Describe(descriptions chan<- *prometheus.Desc) {
	for _, description := range []*prometheus.Desc{lagDesc, ageDesc, lostDesc, stuckDesc, standbyDesc} {
		descriptions <- description
	}
	s.counters.deliveries.Describe(descriptions)
	s.counters.entries.Describe(descriptions)
	s.counters.refusals.Describe(descriptions)
	s.counters.quarantined.Describe(descriptions)
}

// Collect implements prometheus.Collector.
func (s *Source) Collect(metrics chan<- prometheus.Metric) {
	now := s.now()
	for _, f := range s.followed() {
		seen := f.status.get()
		gauge := func(description *prometheus.Desc, value float64) {
			metrics <- prometheus.MustNewConstMetric(description, prometheus.GaugeValue, value, f.stream)
		}
		if seen.known {
			gauge(lagDesc, float64(seen.lag))
			gauge(ageDesc, seen.age(now).Seconds())
		}
		gauge(lostDesc, number(seen.lost))
		gauge(stuckDesc, number(seen.stuck))
		gauge(standbyDesc, number(seen.standby))
	}
	s.counters.deliveries.Collect(metrics)
	s.counters.entries.Collect(metrics)
	s.counters.refusals.Collect(metrics)
	s.counters.quarantined.Collect(metrics)
}

func number(truth bool) float64 {
	if truth {
		return 1
	}
	return 0
}

// status is what a follower shows of itself.
type status struct {
	mu sync.Mutex
	seen
}

type seen struct {
	mark          events.ID // where the function stands
	known         bool      // whether lag and oldest are what Redis told last; otherwise neither is shown
	lag           int64
	oldest        time.Time // append time of the oldest entry that is not applied; zero where there is none
	lost, standby bool
	stuck         bool // one entry fails again and again
}

func (s seen) age(now time.Time) time.Duration {
	if s.oldest.IsZero() {
		return 0
	}
	return max(0, now.Sub(s.oldest))
}

func (s *status) get() seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

func (s *status) set(change func(*seen)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.seen)
}
