package chaos_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// vandal takes entries out of the stream which the function has not applied yet, while no feed is there to see it.
type vandal struct {
	feeds []*pipeline.Program
	proxy *proxy
	redis *redis.Client
	dice  *dice
}

// run does so once, in the first half of a load, with at least a hundred entries ahead of the function.
func (v *vandal) run(ctx context.Context, t *testing.T, blocks uint64) {
	t.Helper()
	height := moments(v.dice, 1, blocks/2)[0]
	var last events.ID
	for {
		if !sleep(ctx, time.Millisecond) {
			return
		}
		var err error
		if last, err = end(ctx, v.redis); err != nil {
			t.Error(err)
			return
		}
		if applied := v.proxy.watermark().Minor; applied >= height && last.Minor >= applied+100 {
			break
		}
	}
	for _, feed := range v.feeds {
		if err := feed.Kill(); err != nil {
			t.Error(err)
		}
	}
	lost := events.ID{Minor: last.Minor - uint64(v.dice.below(20))}
	err := v.damage(ctx, lost)
	t.Logf("entries up to %s lost, %s applied", lost, v.proxy.watermark())
	sleep(ctx, 500*time.Millisecond) // in which nothing may be delivered beyond the loss
	for _, feed := range v.feeds {
		err = errors.Join(err, feed.Start())
	}
	if err != nil {
		t.Error(err)
	}
}

// damage takes out one entry, or all before it.
func (v *vandal) damage(ctx context.Context, lost events.ID) error {
	if v.dice.below(2) == 0 {
		return v.redis.XDel(ctx, pipeline.Stream, lost.String()).Err()
	}
	return v.redis.XTrimMinID(ctx, pipeline.Stream, lost.String()).Err()
}
