package main

import (
	"context"
	"errors"
	"slices"

	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

// measure is how far the functions have come with all streams.
type measure struct {
	entries int64 // that the streams have ever held
	lag     int64 // of them, not yet applied by the function that is furthest behind
}

func (m measure) applied() int64 { return m.entries - m.lag }

// measureLoad measures all streams that are announced.
func measureLoad(ctx context.Context, client *redisstream.Client, store *postgres.Store) (measure, error) {
	streams, err := client.Streams(ctx)
	if err != nil {
		return measure{}, err
	}
	var total measure
	for _, stream := range streams {
		functions, info, err := readers(ctx, client, store, stream)
		if err != nil {
			return measure{}, err
		}
		total.entries += info.EntriesAdded
		slowest := int64(0)
		for _, f := range functions {
			slowest = max(slowest, info.Behind(f.Mark.ID))
		}
		if len(functions) == 0 {
			slowest = info.Length
		}
		total.lag += slowest
	}
	return total, nil
}

// readers gives the functions that go on in a stream, and what Redis has of it.
func readers(
	ctx context.Context, client *redisstream.Client, store *postgres.Store, stream string,
) ([]postgres.FunctionMark, redisstream.Info, error) {
	functions, err := store.Marks(ctx, stream)
	if err != nil {
		return nil, redisstream.Info{}, err
	}
	info, err := client.Info(ctx, stream)
	return postgres.Needed(functions, info.Lacks), info, err
}

// leftToArchive gives those functions of a stream of a mode that the archive's next tick has go on behind what the stream has
// lost: all of them where the archive itself cannot go on, unless one has come further, otherwise those that it moves.
func leftToArchive(
	ctx context.Context, client *redisstream.Client, mode string, functions []postgres.FunctionMark,
) ([]postgres.FunctionMark, error) {
	at := slices.IndexFunc(functions, func(f postgres.FunctionMark) bool { return f.Function == archive.Name && f.DetachedAt == nil })
	if mode != postgres.ModeOpen || at < 0 {
		return nil, nil
	}
	reason, err := client.Loss(ctx, functions[at].Stream, functions[at].Mark)
	ahead := func(f postgres.FunctionMark) bool {
		return f.DetachedAt == nil && f.Mark.ID.Compare(functions[at].Mark.ID) > 0
	}
	switch {
	case err != nil || reason != "" && slices.ContainsFunc(functions, ahead):
		return nil, err
	case reason != "":
		return functions, nil
	}
	return slices.DeleteFunc(slices.Clone(functions), func(f postgres.FunctionMark) bool { return !f.Movable }), nil
}

// findLosses gives the losses between what the functions have applied and what the streams hold.
func findLosses(ctx context.Context, client *redisstream.Client, store *postgres.Store) ([]*redisstream.LossError, error) {
	marks, err := store.Marks(ctx, "")
	if err != nil {
		return nil, err
	}
	streams := make(map[string]struct{})
	for _, mark := range marks { // Redis may have lost their names too
		streams[mark.Stream] = struct{}{}
	}
	var losses []*redisstream.LossError
	for stream := range streams {
		functions, _, err := readers(ctx, client, store, stream)
		if err != nil {
			return nil, err
		}
		for _, f := range functions {
			err := client.Check(ctx, stream, f.Mark)
			if loss, ok := errors.AsType[*redisstream.LossError](err); ok {
				losses = append(losses, loss)
			} else if err != nil {
				return nil, err
			}
		}
	}
	return losses, nil
}
