package source

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
)

// standBy watches Redis until ctx ends, or until the function's mirrored place has stayed behind the stream's end, or
// beyond it, for so long that no source can be delivering.
func (f *follower) standBy(ctx context.Context) {
	f.log.InfoContext(ctx, "another source delivers, standing by")
	f.status.set(func(s *seen) { s.standby = true })
	defer f.status.set(func(s *seen) { s.standby = false })
	patience := f.cfg.Takeover + time.Duration(rand.Float64()*float64(f.cfg.Takeover)/2) //nolint:gosec // jitter
	place, since := events.ID{}, f.now()
	for ctx.Err() == nil {
		sleep(ctx, min(f.cfg.Recheck, f.cfg.Takeover/5))
		now, due, err := f.mirroredPlace(ctx)
		f.reading.report(ctx, err)
		switch {
		case err != nil || !due || now != place:
			place, since = now, f.now()
		case f.now().Sub(since) >= patience:
			f.log.InfoContext(ctx, "no other source delivers, taking over", "after", place.String())
			return
		}
	}
}

// mirroredPlace reads where the function was seen last, and whether there is something for a source to do: entries after
// that place, or a loss to tell of, where the stream has nothing any more or ends before it.
func (f *follower) mirroredPlace(ctx context.Context) (place events.ID, due bool, err error) {
	groups, err := f.redis.Groups(ctx, f.stream)
	if err != nil {
		return events.ID{}, false, err
	}
	info, err := f.redis.Info(ctx, f.stream)
	if err != nil {
		return events.ID{}, false, err
	}
	for _, group := range groups {
		if group.Name == f.cfg.Function {
			place = group.LastDelivered
		}
	}
	f.status.set(func(s *seen) { s.mark = place })
	due = info.Length == 0 || place.Compare(info.LastEntry) < 0 || place.Compare(info.Last) > 0
	return place, due, nil
}
