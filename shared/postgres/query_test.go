package postgres_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

func TestBuckets(t *testing.T) {
	t.Parallel()
	store, url := fresh(t)
	apply(t, store, definition("block_count", "1"))
	id := bucketOf(t, store, "block_count").Key.Metric
	daily := func(day, chain, dimensions, value string) aggregate.Bucket {
		k := bucket.Key{Metric: id, Size: bucket.Daily, Start: at(day + " 00:00:00"), Chain: chain, Dimensions: dimensions}
		return aggregate.Bucket{Key: k, State: []byte{1}, Value: number(t, value)}
	}
	detailed := daily("2010-01-01", "bitcoin", `{"to":"a"}`, "3")
	detailed.Detail = []byte(`{"n":3}`)
	put(t, store, aggregate.Effects{Mark: mark(1), Buckets: []aggregate.Bucket{
		daily("2009-12-31", "bitcoin", `{"to":"a"}`, "1.5"),
		daily("2009-12-31", "bitcoin", `{"to":"b"}`, "18446744073709551617"),
		daily("2009-12-31", "litecoin", `{"kind":"x","to":"a"}`, "-2"),
		detailed,
		{Key: bucket.Key{Metric: id, Size: bucket.Hourly, Start: at("2010-01-01 00:00:00"), Chain: "bitcoin", Dimensions: "{}"}},
	}})
	row := func(day, chain, value, detail string, dimensions map[string]string) postgres.BucketRow {
		r := postgres.BucketRow{
			Chain: chain, Window: bucket.Daily.Window(at(day + " 00:00:00")), Dimensions: dimensions, Value: number(t, value),
		}
		if detail != "" {
			r.Detail = json.RawMessage(detail)
		}
		return r
	}
	a, b := map[string]string{"to": "a"}, map[string]string{"to": "b"}
	all := []postgres.BucketRow{
		row("2009-12-31", "bitcoin", "1.5", "", a),
		row("2010-01-01", "bitcoin", "3", `{"n": 3}`, a),
		row("2009-12-31", "bitcoin", "18446744073709551617", "", b),
		row("2009-12-31", "litecoin", "-2", "", map[string]string{"kind": "x", "to": "a"}),
	}
	cases := map[string]struct {
		query postgres.Query
		want  []postgres.BucketRow
	}{
		"all":    {postgres.Query{}, all},
		"from":   {postgres.Query{From: at("2010-01-01 00:00:00")}, all[1:2]},
		"before": {postgres.Query{From: at("2010-01-01 00:00:00"), Before: true}, all},
		"last before": {
			postgres.Query{From: at("2010-01-02 00:00:00"), Before: true, Chain: "bitcoin"}, all[1:3],
		},
		"before of a dimension": {postgres.Query{From: at("2011-01-01 00:00:00"), Before: true, Dimensions: b}, all[2:3]},
		"before everything":     {postgres.Query{Before: true}, all},
		"to":                    {postgres.Query{To: at("2010-01-01 00:00:00")}, []postgres.BucketRow{all[0], all[2], all[3]}},
		"chain":                 {postgres.Query{Chain: "litecoin"}, all[3:]},
		"dimensions":            {postgres.Query{Dimensions: b}, all[2:3]},
		"some of the dimensions": {
			postgres.Query{Dimensions: a, To: at("2010-01-01 00:00:00")}, []postgres.BucketRow{all[0], all[3]},
		},
		"no such value": {postgres.Query{Dimensions: map[string]string{"to": "c"}}, []postgres.BucketRow{}},
	}
	equal := cmp.Comparer(func(a, b decimal.Decimal) bool { return a.Equal(b) })
	for name, c := range cases {
		c.query.Metric, c.query.Size = "block_count", bucket.Daily
		got, err := store.Buckets(t.Context(), c.query)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, got, equal); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if _, err := store.Buckets(t.Context(), postgres.Query{Metric: "x", Size: bucket.Daily}); !errors.Is(err, postgres.ErrUnknownMetric) {
		t.Errorf("got %v, want %v", err, postgres.ErrUnknownMetric)
	}
	shown := column[string](t, connect(t, url), `select metric || ' ' || value || ' ' || final from metric_buckets
		where bucket_size = 'daily' and dimensions->>'to' = 'b' and bucket_start < '2010-01-01' and chain = 'bitcoin'`)
	if diff := cmp.Diff([]string{"block_count 18446744073709551617 false"}, shown); diff != "" {
		t.Error(diff)
	}
}
