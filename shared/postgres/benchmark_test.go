package postgres_test

import (
	"testing"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/tests/harness"
)

// benchmarkCommit commits twenty buckets of four sizes to a database with so many partitions of minutes.
func benchmarkCommit(b *testing.B, partitions int) {
	b.Helper()
	store, err := postgres.Open(b.Context(), settings(harness.Database(b)))
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	commit := func(keys []bucket.Key) {
		request := aggregate.CommitRequest{Function: function, Stream: stream, Keys: keys}
		err := commit(b.Context(), store, request, func(c aggregate.Current) (aggregate.Effects, error) {
			effects := aggregate.Effects{Mark: mark(c.Mark.ID.Minor + 1)}
			for _, k := range keys {
				effects.Buckets = append(effects.Buckets, aggregate.Bucket{Key: k, State: make([]byte, 64)})
			}
			return effects, nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	month := at("2009-01-01 00:00:00")
	for range partitions {
		commit([]bucket.Key{{Metric: 1, Size: bucket.Minutely, Start: month, Chain: "bitcoin", Dimensions: "{}"}})
		month = month.AddDate(0, 1, 0)
	}
	var keys []bucket.Key
	for metric := range int64(5) {
		for _, size := range []bucket.Size{bucket.Minutely, bucket.Hourly, bucket.Daily, bucket.Weekly} {
			start := size.Window(at("2009-01-20 00:00:00")).Start
			keys = append(keys, bucket.Key{Metric: metric, Size: size, Start: start, Chain: "bitcoin", Dimensions: "{}"})
		}
	}
	commit(keys)
	for b.Loop() {
		commit(keys)
	}
}
