package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
)

//go:embed sql/read_states.sql
var readStates string

//go:embed sql/read_sets.sql
var readSets string

// Commit runs decide in a transaction of two round trips: the first takes the lock of (function, stream) and reads, the
// second writes and commits. Partitions, where they are new, are made before it. What decide returns as an
// error is returned as it is. After an error nothing is stored, unless the connection broke while the commit was under
// way: then only the watermark tells.
func (s *Store) Commit(
	ctx context.Context, request aggregate.CommitRequest, decide func(aggregate.Current) (aggregate.Effects, error),
) error {
	groups := byPartition(request.Keys)
	if err := s.makePartitions(ctx, groups); err != nil {
		return commitError(request, err)
	}
	current := aggregate.Current{
		States: make(map[bucket.Key][]byte), Parts: make(map[bucket.Key]aggregate.Part), Sets: make(map[bucket.Key]aggregate.Sets),
	}
	var refused error
	err := s.take(ctx, turn{
		function: request.Function, stream: request.Stream, pairs: request.Pairs,
		read: func(batch *pgx.Batch) {
			if request.Open {
				queueArchived(batch, request.Stream, &current.Archived)
			}
			for p, keys := range groups {
				queueStates(batch, p, keys, current.States, current.Parts)
			}
			for p, windows := range byPartition(request.Windows) {
				queueSets(batch, p, windows, current.Sets)
			}
		},
		decide: func(now locked) (progress, error) {
			current.Mark, current.LowWater, current.HighestLowWater = now.mark, now.low, now.highest
			current.Version, current.Owners = now.version, now.owners
			var effects aggregate.Effects
			if effects, refused = decide(current); refused != nil {
				return progress{}, refused
			}
			return progress{
				mark: effects.Mark, low: effects.LowWater, claims: effects.Claims, letters: effects.DeadLetters,
				write: func(batch *pgx.Batch) { queueEffects(batch, request, effects) },
				rows:  len(effects.Buckets),
			}, nil
		},
	})
	switch {
	case refused != nil:
		return refused
	case errors.Is(err, pgx.ErrNoRows):
		return aggregate.ErrStale
	case err != nil:
		return commitError(request, err)
	}
	return nil
}

// queueEffects writes what a metric type leaves behind.
func queueEffects(batch *pgx.Batch, request aggregate.CommitRequest, effects aggregate.Effects) {
	queueRevisions(batch, within(effects.Late, effects.Buckets), nil)
	queueBuckets(batch, effects.Buckets)
	queueWindows(batch, effects.Sets)
	queueLate(batch, effects.Late) // ends with the windows of others
	queueMetricErrors(batch, request.Stream, effects.MetricErrors)
	queueReverts(batch, request.Function, request.Stream, effects.Reverts)
}

// within gives the buckets of windows.
func within(windows []bucket.Key, buckets []aggregate.Bucket) []aggregate.Bucket {
	if len(windows) == 0 {
		return nil
	}
	wanted := make(map[bucket.Key]bool, len(windows))
	for _, w := range windows {
		wanted[w] = true
	}
	var found []aggregate.Bucket
	for _, b := range buckets {
		if wanted[b.Key.AllDimensions()] {
			found = append(found, b)
		}
	}
	return found
}

func byPartition(keys []bucket.Key) map[partition][]bucket.Key {
	groups := make(map[partition][]bucket.Key)
	for _, key := range keys {
		p := partitionOf(key.Size, key.Start)
		groups[p] = append(groups[p], key)
	}
	return groups
}

// queueStates reads the states of those keys that are stored. All keys are of one partition.
func queueStates(
	batch *pgx.Batch, p partition, keys []bucket.Key, states map[bucket.Key][]byte, parts map[bucket.Key]aggregate.Part,
) {
	c := columnsOf(keys)
	queued := batch.Queue(p.in(readStates), p.size.String(), c.metrics, c.starts, c.chains, c.dimensions)
	queued.Query(func(rows pgx.Rows) error {
		var place int
		var state, next []byte
		var generation int64
		var nextGeneration *int64
		_, err := pgx.ForEachRow(rows, []any{&place, &state, &generation, &next, &nextGeneration}, func() error {
			key := keys[place-1]
			states[key] = state
			part := aggregate.Part{Generation: generation, Next: next}
			if nextGeneration != nil {
				part.NextGeneration = *nextGeneration
			}
			if part.Generation != 0 || part.NextGeneration != 0 {
				parts[key] = part
			}
			return nil
		})
		return err
	})
}

// queueSets reads how many buckets each of the windows holds. All are of one partition.
func queueSets(batch *pgx.Batch, p partition, windows []bucket.Key, sets map[bucket.Key]aggregate.Sets) {
	c := columnsOf(windows)
	queued := batch.Queue(p.in(readSets), p.size.String(), c.metrics, c.starts, c.chains)
	queued.Query(func(rows pgx.Rows) error {
		var place int
		var read aggregate.Sets
		_, err := pgx.ForEachRow(rows, []any{&place, &read.Count, &read.Forgot}, func() error {
			sets[windows[place-1]] = read
			return nil
		})
		return err
	})
}

func commitError(request aggregate.CommitRequest, err error) error {
	return fmt.Errorf("commit %s on %s: %w", request.Function, request.Stream, err)
}
