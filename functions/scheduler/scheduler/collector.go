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
	observeTime = 5 * time.Second  // to read the store
	keptTime    = 15 * time.Second // for which what was read is shown
	keptFactor  = 20               // a reading is kept so many times as long as it took, if that is longer
)

// Observed is what a collector needs of the store.
type Observed interface {
	// Observe reads what the store tells those who watch the system.
	Observe(ctx context.Context) (postgres.Observation, error)
}

var _ Observed = (*postgres.Store)(nil)

// Collector shows what is true of the store, whichever functions are asleep. It is a prometheus.Collector. Where the store gives no
// answer it shows that alone.
type Collector struct {
	store Observed
	now   func() time.Time

	mu    sync.Mutex
	seen  postgres.Observation
	up    bool
	until time.Time // of what was read
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
	seen, up := c.observe()
	show := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	if !up {
		show(upDesc, 0)
		return
	}
	show(upDesc, 1)
	showStreams(show, seen)
	showRuns(show, seen)
	showTroubles(show, seen.Troubles)
}

// observe reads the store, unless it was read a moment ago.
func (c *Collector) observe() (postgres.Observation, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	begin := c.now()
	if begin.Before(c.until) {
		return c.seen, c.up
	}
	ctx, cancel := context.WithTimeout(context.Background(), observeTime)
	defer cancel()
	seen, err := c.store.Observe(ctx)
	if err != nil && (c.up || c.until.IsZero()) {
		slog.WarnContext(ctx, "the store cannot be observed", "error", err)
	}
	end := c.now()
	c.seen, c.up, c.until = seen, err == nil, end.Add(max(keptTime, keptFactor*end.Sub(begin)))
	return c.seen, c.up
}
