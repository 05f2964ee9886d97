package scheduler

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

const (
	askTime     = 3 * time.Second  // for the store to answer at all
	observeTime = 5 * time.Second  // to read it; with askTime less than the 10 s in which Prometheus scrapes
	keptTime    = 15 * time.Second // for which an answer, or what was read, is not asked for again
	keptFactor  = 20               // a reading is kept so many times as long as it took, if that is longer
)

// Observed is what a collector needs of the store.
type Observed interface {
	// Ping tells whether the store answers.
	Ping(ctx context.Context) error
	// Observe reads what the store tells those who watch the system.
	Observe(ctx context.Context) (postgres.Observation, error)
}

var _ Observed = (*postgres.Store)(nil)

// Collector shows what is true of the store, whichever functions are asleep. It is a prometheus.Collector. Where the store cannot be
// read it shows what was read last, if anything was, and since when that is so.
type Collector struct {
	store Observed
	now   func() time.Time

	mu       sync.Mutex
	answered error     // why the store gave no answer
	asked    time.Time // when it was asked last
	seen     postgres.Observation
	seenAt   time.Time // zero: nothing was read yet
	failed   error     // why the last reading came to nothing
	until    time.Time // the store is not read again
}

var _ prometheus.Collector = (*Collector)(nil)

// NewCollector makes a collector over a store.
func NewCollector(store Observed, now func() time.Time) *Collector {
	return &Collector{store: store, now: now}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range described {
		descriptions <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(metrics chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ask()
	if c.answered == nil {
		c.observe()
	}
	show := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	if c.answered == nil {
		show(upDesc, 1)
	} else {
		show(upDesc, 0)
	}
	if c.seenAt.IsZero() {
		return
	}
	show(observedDesc, seconds(c.seenAt))
	showStreams(show, c.seen)
	showRuns(show, c.seen)
	showTroubles(show, c.seen.Troubles)
}

// ask asks the store whether it answers, unless it was asked a moment ago.
func (c *Collector) ask() {
	if now := c.now(); now.Before(c.asked.Add(keptTime)) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	before := c.answered
	c.answered = c.store.Ping(ctx)
	c.asked = c.now()
	if c.answered != nil && before == nil {
		slog.WarnContext(ctx, "the store gives no answer", "error", c.answered)
	}
}

// observe reads the store, unless it was read a moment ago.
func (c *Collector) observe() {
	begin := c.now()
	if begin.Before(c.until) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), observeTime)
	defer cancel()
	seen, err := c.store.Observe(ctx)
	if err != nil && c.failed == nil {
		slog.WarnContext(ctx, "the store cannot be observed", "error", err)
	}
	end := c.now()
	c.failed, c.until = err, end.Add(max(keptTime, keptFactor*end.Sub(begin)))
	if err == nil {
		c.seen, c.seenAt = seen, begin
	}
}
