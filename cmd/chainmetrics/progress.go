package main

import (
	"context"
	"errors"

	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

// measure is how far the functions have come with all streams.
type measure struct {
	entries int64 // in the streams
	lag     int64 // of them, not yet applied by the function that is furthest behind
}

func (m measure) applied() int64 { return m.entries - m.lag }

// measureLoad measures all streams that are announced.
func measureLoad(ctx context.Context, client *redisstream.Client, store *postgres.Store) (measure, error) {
	streams, err := client.Streams(ctx)
	if err != nil {
		return measure{}, err
	}
	marks, err := store.Marks(ctx, "")
	if err != nil {
		return measure{}, err
	}
	var total measure
	for _, stream := range streams {
		info, err := client.Info(ctx, stream)
		if err != nil {
			return measure{}, err
		}
		total.entries += info.Length
		slowest, known := int64(0), false
		for _, mark := range marks {
			if mark.Stream == stream {
				slowest, known = max(slowest, info.Behind(mark.Mark.ID)), true
			}
		}
		if !known {
			slowest = info.Length
		}
		total.lag += slowest
	}
	return total, nil
}

// findLosses gives the losses between what the functions have applied and what the streams hold.
func findLosses(ctx context.Context, client *redisstream.Client, store *postgres.Store) ([]*redisstream.LossError, error) {
	marks, err := store.Marks(ctx, "")
	if err != nil {
		return nil, err
	}
	var losses []*redisstream.LossError
	for _, mark := range marks {
		err := client.Check(ctx, mark.Stream, mark.Mark)
		if loss, ok := errors.AsType[*redisstream.LossError](err); ok {
			losses = append(losses, loss)
		} else if err != nil {
			return nil, err
		}
	}
	return losses, nil
}
