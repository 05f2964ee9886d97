package aggregate_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/counter/counter"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

func TestTick(t *testing.T) {
	t.Parallel()
	at := time.Date(2019, 12, 31, 12, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		tick    events.Tick
		want    []string // partitions
		refused string   // part of the error
	}{
		"hourly": {
			tick: events.Tick{Function: "counter", BucketSize: "hourly", Complexity: "small"},
			want: []string{"metrics_data_hourly_2019", "metrics_data_hourly_2020"},
		},
		"one metric": {
			tick: events.Tick{Metric: "fees", Function: "counter", BucketSize: "minutely"},
			want: []string{"metrics_data_minutely_2019_12", "metrics_data_minutely_2020_01"},
		},
		"another type": {events.Tick{Function: "gauge", BucketSize: "hourly"}, nil, `metrictype "gauge", want "counter"`},
		"unknown size": {events.Tick{Function: "counter", BucketSize: "yearly"}, nil, "want one of minutely, 10-minutely, hourly"},
		"size's case":  {events.Tick{Function: "counter", BucketSize: "Hourly"}, nil, `bucketsize: unknown bucket size "Hourly"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := harness.Database(t)
			err := aggregate.NewFunction(counter.Type{}, pipeline.Store(t, address)).Tick(t.Context(), tt.tick, at)
			if tt.refused == "" && err != nil {
				t.Fatal(err)
			}
			if tt.refused != "" && (!errors.Is(err, events.ErrInvalid) || !strings.Contains(err.Error(), tt.refused)) {
				t.Errorf("error is %v, want %q", err, tt.refused)
			}
			if diff := cmp.Diff(tt.want, partitions(t, address)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestEverySizeHasTicks gives a tick of each size to a function, as the PingSources of a metric type do.
func TestEverySizeHasTicks(t *testing.T) {
	t.Parallel()
	address := harness.Database(t)
	function := aggregate.NewFunction(counter.Type{}, pipeline.Store(t, address))
	for _, size := range bucket.Sizes() {
		tick := events.Tick{Function: counter.Type{}.Definitions().Name, BucketSize: size.String()}
		if err := function.Tick(t.Context(), tick, start); err != nil {
			t.Error(err)
		}
	}
	if made := partitions(t, address); len(made) != 2*len(bucket.Sizes()) {
		t.Errorf("partitions are %q, want two of each size", made)
	}
}

func partitions(t *testing.T, address string) []string {
	t.Helper()
	const query = "select relid::regclass::text from pg_partition_tree('metrics_data') where level = 2 order by 1"
	rows, err := pipeline.Database(t, address).Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.AppendRows([]string(nil), rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return names
}
