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

const (
	// mostQuarantined is how many entries of a stream may be quarantined in an hour. More of them are no single culprits: then a
	// person has to look.
	mostQuarantined = 10
	// recovery is how long a function may take to answer again after a failure, for that to be the entry's fault still.
	recovery = time.Minute
)

// quarantine is how a follower comes to give up an entry that fails by itself. Everything speaks against it: one that is given
// up wrongly is not counted, while one that is not given up only waits, and says so.
type quarantine struct {
	neighbour events.ID   // where the function stood when it last had applied something from this source, as it is
	times     []time.Time // of the last hour, at which entries were given up
	suspect   suspect
	given     events.ID // the entry that was sent as unreadable, until there is an answer
}

// suspect is an entry that fails alone.
type suspect struct {
	id       events.ID
	since    time.Time // of the first failure that counts
	failures int       // that began and ended with a function that was well
	well     bool      // the function was so after the last failure
}

// giveUp gives the answer to a quarantined entry, nil where it may not be given up yet, or not at all. An entry may be, if it
// fails again and again, for some time, while the function answers before and after each failure, and has applied the entry
// before it: then it is sent as one that cannot be read, so that the function records it and goes on.
func (f *follower) giveUp(ctx context.Context, entry events.Delivery, failure error) *answer {
	q := &f.quarantine
	q.times = slices.DeleteFunc(q.times, func(t time.Time) bool { return f.now().Sub(t) >= time.Hour })
	if f.cfg.QuarantineAfter == 0 || q.neighbour.IsZero() || entry.Predecessor != q.neighbour || len(q.times) >= mostQuarantined || isPassing(failure) {
		q.suspect = suspect{}
		return nil
	}
	if q.suspect.id != entry.ID {
		q.suspect = suspect{id: entry.ID, since: f.now()}
	}
	counts := q.suspect.well
	if q.suspect.well = f.isWell(ctx, entry); !q.suspect.well {
		q.suspect = suspect{}
		return nil
	}
	if counts {
		q.suspect.failures++
	}
	if q.suspect.failures < hopeless || f.now().Sub(q.suspect.since) < f.cfg.QuarantineAfter {
		return nil
	}
	q.given = entry.ID
	said, err := f.sendUnreadable(ctx, entry, fmt.Sprintf("quarantined: %s failed for it %d times: %s", f.cfg.Function,
		q.suspect.failures, ephemeral.ReplaceAllString(failure.Error(), "")))
	if err != nil {
		f.log.WarnContext(ctx, "an entry cannot be quarantined", "entry", entry.ID.String(), "error", err)
		return nil
	}
	q.given = events.ID{}
	if !said.refused && said.applied > 0 { // otherwise another source was faster
		f.gaveUp(ctx, entry, failure)
	}
	return said
}

// gaveUp notes that an entry was quarantined; the failure is nil where that is seen later.
func (f *follower) gaveUp(ctx context.Context, entry events.Delivery, failure error) {
	f.quarantine.times = append(f.quarantine.times, f.now())
	f.counters.quarantined.WithLabelValues(f.stream).Inc()
	f.log.ErrorContext(ctx, "an entry is quarantined: the function does not count it", "entry", entry.ID.String(),
		"failures", f.quarantine.suspect.failures, "error", failure, "advice", "see the function's log, and the entry: chainmetrics "+
			"dead-letter show "+f.stream+" "+entry.ID.String())
}

// isWell tells whether the function answers, some time after a failure that may have ended its process, and still stands
// before the entry.
func (f *follower) isWell(ctx context.Context, entry events.Delivery) bool {
	pause := newBackOff(firstPause)
	for until := f.now().Add(recovery); f.now().Before(until) && ctx.Err() == nil; sleep(ctx, pause.NextBackOff()) {
		if mark, err := f.sink.mark(ctx, f.stream); err == nil {
			return mark.ID == entry.Predecessor
		}
	}
	return false
}

// sendUnreadable sends an entry of the stream as one that cannot be read.
func (f *follower) sendUnreadable(ctx context.Context, d events.Delivery, reason string) (*answer, error) {
	ctx, cancel := graceful(ctx, f.cfg.Grace)
	defer cancel()
	found, err := f.redis.Range(ctx, f.stream, d.ID, d.ID, 1)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 || found[0].ContentHash() != d.Hash {
		return nil, errors.New("it is not in the stream any more")
	}
	unreadable := events.NewUnreadable(d.Stream, found[0], d.Predecessor, reason)
	unreadable.PredecessorHash = d.PredecessorHash
	encoded, err := f.sink.encode([]events.Delivery{unreadable})
	if err != nil {
		return nil, err
	}
	said, err := f.sink.deliver(ctx, f.stream, d.ID, encoded, func() {})
	if err != nil {
		return nil, err
	}
	return &said, nil
}

// isPassing tells whether a function, or what is in front of it, says that it is not the entry's fault.
func isPassing(failure error) bool {
	refusal, answered := errors.AsType[*answerError](failure)
	return answered && slices.Contains([]int{
		http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusGatewayTimeout,
		http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
	}, refusal.status)
}
