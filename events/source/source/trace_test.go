package source

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
)

func traceparent(n int, flags string) string { return fmt.Sprintf("00-%032x-%016x-%s", n, n, flags) }

func TestTraces(t *testing.T) {
	t.Parallel()
	var many []string
	for n := range 100 {
		many = append(many, traceparent(n+1, "01"))
	}
	tests := map[string]struct{ entries, want []string }{
		"none":        {[]string{"", ""}, nil},
		"not sampled": {[]string{traceparent(1, "00"), traceparent(2, "02")}, nil},
		"each once":   {[]string{"", many[0], many[0], traceparent(7, "00"), many[1], many[0]}, many[:2]},
		"some":        {many, many[:mostTraces+1]},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			batch := make([]events.Delivery, len(tt.entries))
			for i, text := range tt.entries {
				batch[i].Traceparent = text
			}
			var got []string
			for _, c := range traces(batch) {
				got = append(got, fmt.Sprintf("00-%s-%s-%s", c.TraceID(), c.SpanID(), c.TraceFlags()))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestNoTraceNoCost: without traces a batch of any length costs the same.
func TestNoTraceNoCost(t *testing.T) {
	f := &follower{Source: &Source{}, stream: "s"}
	cost := func(entries int) float64 {
		batch := make([]events.Delivery, entries)
		for i := range batch {
			batch[i].Traceparent = traceparent(i, "00")
		}
		return testing.AllocsPerRun(100, func() {
			_, s := f.trace(t.Context(), batch)
			f.traced(s, &attempt{})
		})
	}
	if few, many := cost(1), cost(2000); few != many || few > 10 {
		t.Errorf("%v allocations for 1 entry, %v for 2000", few, many)
	}
}

func BenchmarkTraceOff(b *testing.B) {
	f := &follower{Source: &Source{}, stream: "s"}
	batch := make([]events.Delivery, 2000)
	b.ReportAllocs()
	for b.Loop() {
		_, s := f.trace(b.Context(), batch)
		f.traced(s, &attempt{})
	}
}
