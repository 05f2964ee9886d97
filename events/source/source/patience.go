package source

import (
	"context"
	"log/slog"
	"regexp"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// longestPause bounds what doubles from one failure to the next.
const longestPause = 5 * time.Second

// newBackOff gives pauses that double, each with a jitter of half its length.
func newBackOff(first time.Duration) *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval: first, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: max(first, longestPause),
	}
}

// sleep returns early when ctx ends.
func sleep(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// ephemeral is the port of a connection, which differs between two errors of one kind.
var ephemeral = regexp.MustCompile(`:\d{4,5}\b`)

// trouble logs an error that lasts once, again when it becomes another one, and when it is over.
type trouble struct {
	log  *slog.Logger
	last string
}

func newTrouble(log *slog.Logger, what string) *trouble {
	return &trouble{log: log.With("doing", what)}
}

// report takes nil where all is well.
func (t *trouble) report(ctx context.Context, err error) {
	if ctx.Err() != nil { // what fails because of the shutdown is no news
		return
	}
	var text string
	if err != nil {
		text = ephemeral.ReplaceAllString(err.Error(), "")
	}
	if text == t.last {
		return
	}
	t.last = text
	if err == nil {
		t.log.InfoContext(ctx, "works again")
		return
	}
	t.log.WarnContext(ctx, "will try again", "error", err)
}

// graceful gives a context that outlives ctx by a grace.
func graceful(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		sleep(longer, grace)
		cancel()
	})
	return longer, func() {
		stop()
		cancel()
	}
}
