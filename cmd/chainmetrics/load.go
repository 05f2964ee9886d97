package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/wiring"
)

const (
	loadTick = 250 * time.Millisecond
	// stallTimeout is how long the load may stand still before up gives up waiting for it. A feed that reads its files, which
	// may take long, does not stand still.
	stallTimeout = 60 * time.Second
	// mostBuckets is how many buckets are counted, every countPause, since counting takes time.
	mostBuckets = 1_000_000
	countPause  = time.Second
)

// errStalled says that entries were fed that are not applied.
var errStalled = errors.New("not everything fed has been applied")

// load feeds what is to be fed and waits until the function has applied it. Without --once the feed goes on then.
func (s *localSystem) load(ctx context.Context) error {
	return s.screen.phase("load", func() (string, error) {
		first, err := measureLoad(ctx, s.client, s.store)
		if err != nil {
			return "", err
		}
		if s.files != "" {
			// A feed that follows never ends, and mends losses of the stream.
			if s.feed, err = s.startFeed(); err != nil {
				return "", err
			}
		}
		now := s.app.now()
		l := &loading{system: s, started: now, moved: now, first: first, last: first}
		err = l.wait(ctx)
		if errors.Is(err, errStalled) && !s.flags.once {
			s.screen.notice(s.screen.yellow("  "+err.Error()), "    serving nevertheless; look at: "+s.app.command("status"))
			return "stands still", nil
		}
		return l.result(), err
	})
}

// loading is a load under way.
type loading struct {
	system      *localSystem
	started     time.Time
	moved       time.Time // when last something changed
	first, last measure
	tip         int64 // the feed's highest block; -1 while it is unknown
	located     bool  // the feed has looked at its stream
	reading     bool  // the feed reads its files, before it serves or feeds anything
	run         int   // process id of the feed's first run; served when that has served
	samples     []sample
	buckets     int64     // in the store
	counted     time.Time // when they were counted last
}

// served is in the place of a process id.
const served = -1

// sample is how much was applied at a time.
type sample struct {
	at      time.Time
	applied int64
}

// wait shows the load until all that was fed has been applied. It fails with errStalled.
func (l *loading) wait(ctx context.Context) error {
	tick := time.NewTicker(loadTick)
	defer tick.Stop()
	for {
		fed := l.fed(ctx)
		m, err := measureLoad(ctx, l.system.client, l.system.store)
		now := l.system.app.now()
		if err == nil {
			if fed && m.lag == 0 {
				l.last = m
				return l.count(ctx, now)
			}
			if m != l.last {
				l.last, l.moved = m, now
			}
			if now.Sub(l.counted) >= countPause {
				err = l.count(ctx, now)
			}
			l.show(now)
		}
		if l.reading {
			l.moved = now
		}
		if stood := now.Sub(l.moved); stood > stallTimeout && ctx.Err() == nil {
			return l.system.stalled(ctx, m, stood, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// fed tells whether the feed has nothing more to append, as far as it says so itself; also where there is no feed.
func (l *loading) fed(ctx context.Context) bool {
	s := l.system
	l.tip, l.reading = -1, false
	if s.feed == nil {
		return true
	}
	select {
	case <-s.feed.Done():
		return true
	default:
	}
	pid := s.feed.PID()
	if l.run == 0 {
		l.run = pid
	}
	wasLocated := l.located
	l.located = ready(ctx, s.ports[s.wiring.Feed.Name]) == nil
	tip, err := gauge(ctx, s.ports[s.wiring.Feed.Name], "chainmetrics_feed_tip_height")
	if err == nil {
		l.run = served
	}
	l.reading = l.run > 0 && l.run == pid // one that has died in it is not waited for without end
	if err != nil || !wasLocated || !l.located {
		return false
	}
	l.tip = int64(tip) - confirmations(s.wiring.Feed)
	if s.flags.once {
		return false // until its process ends
	}
	info, err := s.client.Info(ctx, fedStream(s.wiring.Feed))
	return err == nil && (info.Last.Major > 0 || info.Last.Minor > uint64(max(0, l.tip)))
}

// count counts the buckets.
func (l *loading) count(ctx context.Context, now time.Time) (err error) {
	l.buckets, err = l.system.store.CountBuckets(ctx, mostBuckets)
	l.counted = now
	return err
}

// fedStream is the stream that a feed writes to, as it decides itself.
func fedStream(feed wiring.Process) string {
	return cmp.Or(feed.Variable("STREAM"), "blockchain_events:"+cmp.Or(feed.Variable("CHAIN"), "bitcoin"))
}

// confirmations is how many of the newest blocks a feed leaves out.
func confirmations(feed wiring.Process) int64 {
	const variable = "FEED_CONFIRMATIONS"
	count, err := strconv.ParseInt(cmp.Or(feed.Variable(variable), os.Getenv(variable)), 10, 32)
	if err != nil {
		return 0
	}
	return count
}

// show shows how far the load has come, at the speed of the last seconds.
func (l *loading) show(now time.Time) {
	if l.reading {
		l.system.screen.progress(0, 0, "reading the block files, "+now.Sub(l.started).Round(time.Second).String())
		return
	}
	const remembered = 12
	l.samples = append(l.samples, sample{at: now, applied: l.last.applied()})
	l.samples = l.samples[max(0, len(l.samples)-remembered):]
	oldest := l.samples[0]
	rate := 0.0
	if passed := now.Sub(oldest.at); passed > 0 {
		rate = float64(l.last.applied()-oldest.applied) / passed.Seconds()
	}
	l.system.screen.progress(l.last.applied(), l.tip+1, fmt.Sprintf("%s blocks, %s/s, lag %s, %s",
		grouped(l.last.applied()), grouped(int64(rate)), grouped(l.last.lag), bucketCount(l.buckets)))
}

// result tells what the load did.
func (l *loading) result() string {
	applied := l.last.applied() - l.first.applied()
	if applied == 0 {
		return fmt.Sprintf("nothing new: %s, %s", plural(int(l.last.applied()), "block", "blocks"), bucketCount(l.buckets))
	}
	rate := float64(applied) / max(l.system.app.now().Sub(l.started).Seconds(), 0.001)
	return fmt.Sprintf("%s, %s/s, %s", plural(int(applied), "block", "blocks"), grouped(int64(rate)),
		bucketCount(l.buckets))
}

func bucketCount(n int64) string {
	if n >= mostBuckets {
		return "more than " + grouped(mostBuckets) + " buckets"
	}
	return plural(int(n), "bucket", "buckets")
}

// stalled says why the load stands still, as far as that can be told.
func (s *localSystem) stalled(ctx context.Context, m measure, stood time.Duration, trouble error) error {
	reasons := []string{fmt.Sprintf("lag %s, and nothing has moved for %s", grouped(m.lag), stood.Round(time.Second))}
	if trouble != nil {
		reasons = append(reasons, trouble.Error())
	}
	if losses, err := findLosses(ctx, s.client, s.store); err == nil {
		for _, loss := range losses {
			reasons = append(reasons, loss.Error())
		}
	}
	return advise(fmt.Errorf("%w: %s", errStalled, strings.Join(reasons, "; ")),
		"the logs are in %s", s.directory.join(logFolder))
}
