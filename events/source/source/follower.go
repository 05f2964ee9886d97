package source

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

const (
	firstPause  = 100 * time.Millisecond
	mirrorEvery = time.Second
	mirrorLimit = 2 * time.Second // of time for the mirror: who takes over depends on it, no value does
	// outrun is how often in a row another source must have been faster for this one to become a standby.
	outrun = 2
	// outlasted is how often in a row a batch may fail before a smaller one is tried: it may be what the function cannot do
	// in time.
	outlasted = 3
	// hopeless is how often in a row a single entry may fail before that is an error, where it may be the function that is
	// out of order. An entry that is rejected fails by itself, so outlasted is enough there.
	hopeless = 10
)

// follower delivers one stream.
type follower struct {
	*Source
	stream string
	log    *slog.Logger
	status status
	limit  redisstream.Limit // of the next batch; the configured one unless the function cannot take it

	asking, reading, sending, mirroring *trouble
	loss                                string // what was last logged of a loss

	quarantine quarantine
	caution    caution
	outruns    int // how many batches in a row another source has applied first

	mirrored   time.Time // when the place was last mirrored
	unmirrored bool      // whether it has moved since
}

func newFollower(s *Source, stream string) *follower {
	log := s.log.With("stream", stream)
	return &follower{
		Source:    s,
		stream:    stream,
		log:       log,
		limit:     redisstream.Limit{Count: s.cfg.BatchEntries, Bytes: s.cfg.BatchBytes},
		asking:    newTrouble(log, "ask for the watermark"),
		reading:   newTrouble(log, "read the stream"),
		sending:   newTrouble(log, "deliver"),
		mirroring: newTrouble(log, "mirror the place"),
	}
}

// run delivers or stands by, until ctx ends.
func (f *follower) run(ctx context.Context) {
	var watch sync.WaitGroup
	defer watch.Wait()
	watch.Go(func() { f.measure(ctx) })
	for ctx.Err() == nil {
		f.lead(ctx)
		if ctx.Err() == nil {
			f.unmirrored = false
			f.standBy(ctx)
		}
	}
	f.mirror(ctx, f.status.get().mark, 0)
}

// measure keeps the lag up to date, also while a delivery takes its time.
func (f *follower) measure(ctx context.Context) {
	for ; ctx.Err() == nil; sleep(ctx, f.cfg.Recheck) {
		mark := f.status.get().mark
		lag, oldest, err := f.behind(ctx, mark)
		f.status.set(func(s *seen) {
			switch {
			case err != nil: // reading reports it
				s.known = false
			case s.mark == mark || !s.known: // otherwise it was too slow
				s.known, s.lag, s.oldest = true, lag, oldest
			}
		})
	}
}

// behind gives how many entries lie after a mark, and when the first of them was appended. Where there are none it moves
// none: what Redis tells of a stream holds two of its entries.
func (f *follower) behind(ctx context.Context, mark events.ID) (lag int64, oldest time.Time, err error) {
	next, ok, err := f.redis.Next(ctx, f.stream, mark)
	if err != nil || !ok {
		return 0, time.Time{}, err
	}
	info, err := f.redis.Info(ctx, f.stream)
	if err != nil {
		return 0, time.Time{}, err
	}
	return info.Behind(mark), next.WaitsSince(), nil
}

// lead delivers until ctx ends or another source is faster. While the function works on a batch the next one is read, and
// sent as soon as it is there.
func (f *follower) lead(ctx context.Context) {
	mark := f.ask(ctx)
	f.unmirrored = ctx.Err() == nil // a standby looks for the place, also where nothing moves
	now := f.read(ctx, mark)
	defer func() { f.drop(now) }()
	pause := newBackOff(firstPause)
	f.outruns = 0
	for ctx.Err() == nil || now.sending != nil {
		<-now.read
		if isLoss(now.err) { // unless another source delivers, and what the function had applied meanwhile was trimmed
			if at := f.ask(ctx); ctx.Err() == nil && at.ID != now.after.ID {
				mark, now = at, f.read(ctx, at)
				f.moved(ctx, mark)
				continue
			}
		}
		switch ok := f.judge(ctx, now); {
		case !ok:
			sleep(ctx, f.pauseAfter(now.err, pause.NextBackOff()))
			if isLoss(now.err) { // the mark may have moved, or the loss been accepted
				mark = f.ask(ctx)
			}
			now = f.read(ctx, mark)
			continue
		case len(now.entries) == 0:
			pause.Reset()
			f.idle(ctx, mark)
			now = f.read(ctx, mark)
			continue
		}
		f.readOn(ctx, now)
		if now.sending == nil {
			now.sending = f.send(ctx, now, false)
		}
		f.sendAhead(ctx, now)
		said := f.deliver(ctx, now)
		if ctx.Err() != nil && said == nil {
			return
		}
		if end := now.end(); said != nil && !said.refused && said.mark == end.ID {
			mark, now = end, now.next
			pause.Reset()
		} else {
			f.drop(now)
			before := mark.ID
			if mark = f.ask(ctx); ctx.Err() != nil {
				return // the mark may be none
			}
			f.recognize(now, mark.ID)
			if mark.ID == before {
				sleep(ctx, pause.NextBackOff())
			}
			now = f.read(ctx, mark)
		}
		f.moved(ctx, mark)
		if f.outruns >= outrun {
			return
		}
	}
}

// recognize notes that the function stands at the end of one of some batches, whose answers may be lost. One entry by itself
// says nothing: it may have been given up.
func (f *follower) recognize(b *batch, mark events.ID) {
	for ; b != nil && b.err == nil && len(b.entries) > 1; b = b.next {
		if b.end().ID == mark {
			f.quarantine.neighbour = mark
		}
	}
}

func isLoss(err error) bool {
	var loss *redisstream.LossError
	return errors.As(err, &loss)
}

// pauseAfter is at least a recheck long for a loss, which takes a feed or a person to mend.
func (f *follower) pauseAfter(err error, pause time.Duration) time.Duration {
	if isLoss(err) {
		return max(pause, f.cfg.Recheck)
	}
	return pause
}

// judge reports what a reading found; it tells whether there is something to go on with.
func (f *follower) judge(ctx context.Context, b *batch) bool {
	if isLoss(b.err) {
		f.reading.report(ctx, nil)
		f.status.set(func(s *seen) { s.lost = true })
		if text := b.err.Error(); ctx.Err() == nil && f.loss != text {
			f.loss = text
			f.log.ErrorContext(ctx, "stream has lost entries, nothing of it is delivered",
				"error", b.err, "advice", "the archive's next tick heals an open stream; otherwise start its feed again, or "+
					"accept the loss: chainmetrics stream accept "+f.stream)
		}
		return false
	}
	f.reading.report(ctx, b.err)
	if b.err != nil {
		return false
	}
	if f.loss != "" {
		f.loss = ""
		f.log.InfoContext(ctx, "stream goes on, it is delivered again", "after", b.after.ID.String())
		f.unmirrored = true // the feed has replaced the stream, and the mirrored places with it
	}
	f.status.set(func(s *seen) {
		s.lost = false
		if len(b.entries) == 0 && s.mark == b.after.ID {
			s.known, s.lag, s.oldest = true, 0, time.Time{}
		}
	})
	return true
}

// ask gives where the function stands. It asks until there is an answer; once ctx has ended it gives anything.
func (f *follower) ask(ctx context.Context) watermark.Mark {
	pause := newBackOff(firstPause)
	for {
		mark, err := f.sink.mark(ctx, f.stream)
		f.asking.report(ctx, err)
		if err == nil {
			f.status.set(func(s *seen) { s.mark = mark.ID })
		}
		if err == nil || ctx.Err() != nil {
			return mark
		}
		sleep(ctx, max(pause.NextBackOff(), advised(err)))
	}
}

func advised(err error) time.Duration {
	if refusal, ok := errors.AsType[*answerError](err); ok {
		return refusal.retryAfter
	}
	return 0
}

// deliver lets a batch, which is being sent, be sent until there is an answer to go on with. The answer is nil where ctx has
// ended, and where the batch must be read again in a smaller size.
func (f *follower) deliver(ctx context.Context, b *batch) *answer {
	pause := newBackOff(firstPause)
	attempts := 0
	defer f.status.set(func(s *seen) { s.stuck = false })
	begun := b.sending
	b.sending = nil
	for first := true; ; begun = f.send(ctx, b, false) {
		got, err := f.result(begun)
		if begun.ahead && (got.refused || err != nil) && ctx.Err() == nil { // it may have been too early, or too much
			first = err == nil
			f.caution.vain()
			f.drop(b.next) // it came to nothing either
			if ctx.Err() != nil {
				return nil
			}
			continue
		}
		f.sending.report(ctx, err)
		if err == nil {
			if begun.ahead {
				f.caution.fine()
			}
			if end := b.end().ID; !first && !got.refused && got.applied == 0 && got.mark == end {
				// An attempt before may have done it, and its answer be lost.
				if f.quarantine.given == end {
					f.gaveUp(ctx, b.entries[0], nil)
				} else {
					f.quarantine.neighbour = end
				}
			}
			f.quarantine.suspect, f.quarantine.given = suspect{}, events.ID{}
			if first && !got.refused && begun.outrun() { // a second attempt says nothing: the first one may have been applied
				f.outruns++
			}
			f.limit.Count = min(2*f.limit.Count, f.cfg.BatchEntries)
			return &got
		}
		first = false
		if ctx.Err() != nil {
			return nil
		}
		if b.next.sending != nil {
			f.caution.vain() // it may have been too much
		}
		f.drop(b.next) // what was sent ahead comes to nothing
		attempts++
		if len(b.entries) > 1 && (attempts == outlasted || isTooLarge(err)) {
			f.limit.Count = max(1, len(b.entries)/2)
			return nil
		}
		if len(b.entries) == 1 {
			if said := f.giveUp(ctx, b.entries[0], err); said != nil {
				return said
			}
			f.tellStuck(ctx, b.entries[0], attempts, err)
		}
		sleep(ctx, max(pause.NextBackOff(), advised(err)))
		if ctx.Err() != nil {
			return nil
		}
	}
}

// tellStuck reports, once, an entry that fails alone as often as no passing trouble explains. It is tried again, also while
// it is waited for whether it may be given up.
func (f *follower) tellStuck(ctx context.Context, entry events.Delivery, attempts int, err error) {
	allowed := hopeless
	if outcomeOf(answer{}, err) == outcomeRejected {
		allowed = outlasted
	}
	if attempts < allowed || f.status.get().stuck {
		return
	}
	f.status.set(func(s *seen) { s.stuck = true })
	f.log.ErrorContext(ctx, "an entry fails again and again, nothing after it is delivered", "entry", entry.ID.String(),
		"type", entry.Type, "attempts", attempts, "error", err,
		"advice", "see the function's log; once it takes the entry, delivery goes on")
}

func isTooLarge(err error) bool {
	var refusal *answerError
	return errors.As(err, &refusal) && refusal.status == http.StatusRequestEntityTooLarge
}

func (f *follower) count(a *attempt) {
	outcome := a.outcome()
	if outcome == outcomeRefused {
		f.counters.refusals.WithLabelValues(f.stream).Inc()
	}
	f.counters.deliveries.WithLabelValues(f.stream, outcome).Inc()
	f.counters.entries.WithLabelValues(f.stream).Add(float64(a.said.applied))
}

// idle waits for entries after a mark, up to which all is applied.
func (f *follower) idle(ctx context.Context, mark watermark.Mark) {
	f.mirror(ctx, mark.ID, 0)
	if err := f.redis.Wait(ctx, f.stream, mark.ID, time.Second); err != nil {
		f.reading.report(ctx, err)
		sleep(ctx, firstPause)
	}
}

// moved notes where the function stands now.
func (f *follower) moved(ctx context.Context, mark watermark.Mark) {
	f.status.set(func(s *seen) { s.mark = mark.ID })
	f.unmirrored = true
	f.mirror(ctx, mark.ID, mirrorEvery)
}

// mirror shows in Redis where the function stands, if it has moved, not more often than every so often.
func (f *follower) mirror(ctx context.Context, id events.ID, every time.Duration) {
	now := f.now()
	if !f.unmirrored || now.Sub(f.mirrored) < every {
		return
	}
	f.mirrored = now
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), mirrorLimit)
	defer cancel()
	err := f.redis.Mirror(limited, f.stream, f.cfg.Function, id)
	f.mirroring.report(ctx, err)
	f.unmirrored = err != nil
}
