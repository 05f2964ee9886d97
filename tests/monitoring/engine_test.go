package monitoring_test

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/template"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// step is the time between two samples of a series, and between two evaluations.
const step = time.Minute

// recorded is series in memory.
type recorded []storage.Series

// record reads series as promtool writes them: a selector, then values such as 1x60 or 0+60x60, one a step.
func record(t *testing.T, lines []string) recorded {
	t.Helper()
	var all recorded
	for _, line := range lines {
		of, values, err := promQL.ParseSeriesDesc(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		var samples []chunks.Sample
		for i, v := range values {
			if !v.Omitted {
				samples = append(samples, sample{at: int64(i) * step.Milliseconds(), value: v.Value})
			}
		}
		all = append(all, storage.NewListSeries(of, samples))
	}
	return all
}

// Querier implements storage.Queryable.
func (r recorded) Querier(int64, int64) (storage.Querier, error) {
	return &storage.MockQuerier{SelectMockFunction: func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
		var found []storage.Series
		for _, s := range r {
			if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.Labels().Get(m.Name)) }) {
				found = append(found, s)
			}
		}
		return &set{series: found}
	}}, nil
}

// sample is a chunks.Sample of a number.
type sample struct {
	at    int64
	value float64
}

func (s sample) T() int64                      { return s.at }
func (s sample) ST() int64                     { return 0 }
func (s sample) F() float64                    { return s.value }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }

// set is a storage.SeriesSet.
type set struct {
	series []storage.Series
	now    storage.Series
}

func (s *set) Next() bool {
	if len(s.series) == 0 {
		return false
	}
	s.now, s.series = s.series[0], s.series[1:]
	return true
}
func (s *set) At() storage.Series                { return s.now }
func (s *set) Err() error                        { return nil }
func (s *set) Warnings() annotations.Annotations { return nil }

func newEngine(t *testing.T) *promql.Engine {
	t.Helper()
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute, Parser: promQL})
	t.Cleanup(func() { _ = engine.Close() })
	return engine
}

// firing evaluates a rule step by step, as Prometheus does, and gives the summaries of the alerts that fire at a time, by their
// labels.
func firing(t *testing.T, engine *promql.Engine, series recorded, rule rulefmt.Rule, until time.Duration) map[string]string {
	t.Helper()
	since, now := map[string]time.Duration{}, map[string]string{}
	for at := time.Duration(0); at <= until; at += step {
		active := evaluate(t, engine, series, rule, at)
		maps.DeleteFunc(since, func(of string, _ time.Duration) bool { _, ok := active[of]; return !ok })
		clear(now)
		for of, sample := range active {
			if _, ok := since[of]; !ok {
				since[of] = at
			}
			if at-since[of] >= time.Duration(rule.For) {
				now[of] = expand(t, rule, sample)
			}
		}
	}
	return now
}

// evaluate gives what the expression of a rule gives at a time, by labels.
func evaluate(t *testing.T, engine *promql.Engine, series recorded, rule rulefmt.Rule, at time.Duration) map[string]promql.Sample {
	t.Helper()
	query, err := engine.NewInstantQuery(t.Context(), series, nil, rule.Expr, time.UnixMilli(at.Milliseconds()))
	if err != nil {
		t.Fatalf("%s: %v", rule.Alert, err)
	}
	defer query.Close()
	vector, err := query.Exec(t.Context()).Vector()
	if err != nil {
		t.Fatalf("%s: %v", rule.Alert, err)
	}
	active := map[string]promql.Sample{}
	for _, sample := range vector {
		active[sample.Metric.String()] = sample
	}
	return active
}

// expand gives the summary and the description of an alert.
func expand(t *testing.T, rule rulefmt.Rule, sample promql.Sample) string {
	t.Helper()
	const definitions = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}"
	data := template.AlertTemplateData(sample.Metric.Map(), nil, "", promql.Sample{F: sample.F})
	var texts []string
	for _, name := range []string{"summary", "description"} {
		expander := template.NewTemplateExpander(t.Context(), definitions+rule.Annotations[name], rule.Alert, data, model.Time(0),
			func(context.Context, string, time.Time) (promql.Vector, error) {
				return nil, fmt.Errorf("%s asks", rule.Alert)
			},
			&url.URL{}, nil)
		text, err := expander.Expand()
		if err != nil {
			t.Fatalf("%s: %v", rule.Alert, err)
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ": ")
}
