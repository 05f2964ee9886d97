package source

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
)

// mostQuarantined is how many entries of a stream may be quarantined in an hour. More of them are no single culprits: then a
// person has to look.
const mostQuarantined = 10

// unproven is how many times as often an entry must fail where this source has not seen the function apply any: then it may
// be what the function does with all of them.
const unproven = 10

// quarantined are the entries of a stream that were given up.
type quarantined struct {
	proven bool // the function has applied other entries of this source
	last   events.ID
	times  []time.Time // the last hour's
}

// allows tells whether an entry may be given up: not right behind another one, which would need an entry between them that
// succeeds, and not as one of too many.
func (q *quarantined) allows(entry events.Delivery, now time.Time) bool {
	q.times = slices.DeleteFunc(q.times, func(t time.Time) bool { return now.Sub(t) >= time.Hour })
	return len(q.times) < mostQuarantined && (q.last.IsZero() || entry.Predecessor != q.last)
}

// quarantine gives up an entry that fails by itself, again and again, while the function answers: it is sent as one that
// cannot be read, so that the function records it as a dead letter and goes on. It gives nil where the entry may not be
// given up, or that fails too.
func (f *follower) quarantine(ctx context.Context, entry events.Delivery, attempts int, failure error) *answer {
	patience := patienceFor(failure)
	if !f.given.proven {
		patience *= unproven
	}
	if attempts < patience || isPassing(failure) || !f.given.allows(entry, f.now()) {
		return nil
	}
	if mark, err := f.sink.mark(ctx, f.stream); err != nil || mark.ID != entry.Predecessor {
		return nil // it is not the entry's fault, or the entry was applied
	}
	reason := fmt.Sprintf("quarantined: %s failed for it %d times: %s", f.cfg.Function, attempts,
		ephemeral.ReplaceAllString(failure.Error(), ""))
	said, err := f.sendUnreadable(ctx, entry, reason)
	if err != nil {
		f.log.WarnContext(ctx, "an entry cannot be quarantined", "entry", entry.ID.String(), "error", err)
		return nil
	}
	f.count(*said, nil)
	f.given.last, f.given.times = entry.ID, append(f.given.times, f.now())
	f.counters.quarantined.WithLabelValues(f.stream).Inc()
	f.log.ErrorContext(ctx, "an entry is quarantined: the function does not count it", "entry", entry.ID.String(),
		"attempts", attempts, "error", failure, "advice", "see the function's log, and the entry: chainmetrics dead-letter show "+
			f.stream+" "+entry.ID.String())
	return said
}

func (f *follower) sendUnreadable(ctx context.Context, d events.Delivery, reason string) (*answer, error) {
	found, err := f.redis.Range(ctx, f.stream, d.ID, d.ID, 1)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 || found[0].ContentHash() != d.Hash {
		return nil, errors.New("it is not in the stream any more")
	}
	encoded, err := f.sink.encode([]events.Delivery{events.NewUnreadable(d.Stream, found[0], d.Predecessor, reason)})
	if err != nil {
		return nil, err
	}
	said, err := f.sink.deliver(ctx, encoded)
	if err != nil {
		return nil, err
	}
	return &said, nil
}

// patienceFor is how often in a row a single entry may fail before it is to blame. One that is rejected fails by itself.
func patienceFor(failure error) int {
	if outcomeOf(answer{}, failure) == outcomeRejected {
		return outlasted
	}
	return hopeless
}

// isPassing tells whether a function says that it is not the entry's fault.
func isPassing(failure error) bool {
	refusal, answered := errors.AsType[*answerError](failure)
	return answered && slices.Contains([]int{
		http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusUnauthorized,
		http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
	}, refusal.status)
}
