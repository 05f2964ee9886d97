package planner

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	objects = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "chainmetrics_planner_objects",
		Help: "Objects by kind and state: planned, which the registry asks for; refused, which cannot be made; " +
			"of PingSources also ready, when the last pass began.",
	}, []string{"kind", "state"})
	changes = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "chainmetrics_planner_changes_total",
		Help: "Changes of objects, by kind and outcome: created, changed, pruned, or failed.",
	}, []string{"kind", "outcome"})
	passes = promauto.NewHistogram(prometheus.HistogramOpts{
		Name:    "chainmetrics_planner_pass_seconds",
		Help:    "Time that a pass takes.",
		Buckets: prometheus.ExponentialBuckets(0.01, 2, 14),
	})
	readyAfter = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "chainmetrics_planner_ready_seconds",
		Help: "From the pass that has applied a PingSource last until the last one was ready; not a number while one is not ready.",
	})
)

// survey tells how many PingSources are ready, and how long that took. Each says when it was applied and since when it is ready, so
// that this is known to whoever looks, after any time.
func survey(desired []Object, live map[key]Live) (o Outcome) {
	var planned, ready time.Time
	for _, d := range desired {
		if d.Kind != PingSource {
			continue
		}
		o.PingSources++
		l, there := live[d.key()]
		if !there || l.ReadySince.IsZero() {
			continue
		}
		o.Ready++
		if at, err := time.Parse(time.RFC3339Nano, l.Annotations[annotationPlannedAt]); err == nil && at.After(planned) {
			planned = at
		}
		if l.ReadySince.After(ready) {
			ready = l.ReadySince
		}
	}
	if o.Ready == o.PingSources && ready.After(planned) && !planned.IsZero() {
		o.ReadyAfter = ready.Sub(planned)
	}
	return o
}

// measure shows the outcome in the process's metrics.
func (o Outcome) measure() {
	objects.WithLabelValues(string(PingSource), "planned").Set(float64(o.PingSources))
	objects.WithLabelValues(string(PingSource), "ready").Set(float64(o.Ready))
	objects.WithLabelValues(string(ConfigMap), "planned").Set(float64(o.Metrics))
	refused := make(map[Kind]int)
	for _, refusal := range o.Refused {
		refused[refusal.Kind]++
	}
	for _, kind := range Kinds() {
		objects.WithLabelValues(string(kind), "refused").Set(float64(refused[kind]))
	}
	seconds := o.ReadyAfter.Seconds()
	if o.Ready < o.PingSources {
		seconds = math.NaN()
	}
	readyAfter.Set(seconds)
}
