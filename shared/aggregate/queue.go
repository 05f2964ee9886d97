package aggregate

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/chainmetrics/chainmetrics/events"
)

// queue is what a function knows of a stream, and the batches of it that are under way.
type queue struct {
	turn     chan struct{}            // is taken by one batch at a time: a second would only wait for the same row of the store
	programs atomic.Pointer[programs] // nil: to be read

	mu       sync.Mutex
	underway map[events.ID]*place // by the last entry of each
}

func newQueue() *queue {
	return &queue{turn: make(chan struct{}, 1), underway: make(map[events.ID]*place)}
}

// place is a batch in the queue.
type place struct {
	queue  *queue
	last   events.ID
	before *place // the batch that this one follows, where that was under way; nil otherwise
	done   chan struct{}
	turn   bool
}

// enter takes a place for a batch, which has to be left.
func (q *queue) enter(batch []events.Delivery) *place {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := &place{queue: q, last: batch[len(batch)-1].ID, before: q.underway[batch[0].Predecessor], done: make(chan struct{})}
	q.underway[p.last] = p
	return p
}

// wait gives the batch its turn: after the batch before it, or at some time where there is none. It fails when the context
// ends.
func (p *place) wait(ctx context.Context) error {
	if p.before != nil {
		select {
		case <-p.before.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		p.before = nil // with all the batches before it
	}
	select {
	case p.queue.turn <- struct{}{}:
		p.turn = true
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *place) leave() {
	if p.turn {
		<-p.queue.turn
	}
	p.queue.mu.Lock()
	defer p.queue.mu.Unlock()
	if p.queue.underway[p.last] == p { // it may have come twice
		delete(p.queue.underway, p.last)
	}
	close(p.done)
}
