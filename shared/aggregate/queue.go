package aggregate

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/chainmetrics/chainmetrics/events"
)

// queue is what a function knows of a stream, and the batches of it that are under way.
type queue struct {
	turn     chan struct{}            // is held by one batch at a time: a second would only wait for the same row of the store
	ahead    chan struct{}            // is held by one batch that was evaluated before its turn: more would only need memory
	programs atomic.Pointer[programs] // nil: to be read

	mu       sync.Mutex
	underway map[events.ID]expected // by the last entry of each
}

func newQueue() *queue {
	return &queue{
		turn: make(chan struct{}, 1), ahead: make(chan struct{}, 1), underway: make(map[events.ID]expected),
	}
}

// expected is a batch on its way.
type expected struct {
	done chan struct{}
	over func() // closes done, once
}

// expect makes the batch that follows an entry wait for the one that ends with it, until that is over.
func (q *queue) expect(last events.ID) (over func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	done := make(chan struct{})
	over = sync.OnceFunc(func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.underway[last].done == done { // it may have come twice
			delete(q.underway, last)
		}
		close(done)
	})
	q.underway[last] = expected{done, over}
	return over
}

// before gives the batch that ends with an entry, while it is under way; nil otherwise.
func (q *queue) before(entry events.ID) chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.underway[entry].done
}

// reached says that everything up to an entry is applied: nothing waits for the batch that ends with it any more, which may
// come once more.
func (q *queue) reached(entry events.ID) {
	q.mu.Lock()
	over := q.underway[entry].over
	q.mu.Unlock()
	if over != nil {
		over()
	}
}

// take gives a batch the turn, once the one before it is over; nil where none is under way. Until then there is something to
// do meanwhile, unless another batch does so. It fails as that does, and when the context ends.
func (q *queue) take(ctx context.Context, before chan struct{}, meanwhile func() error) error {
	if before != nil {
		select {
		case q.ahead <- struct{}{}:
			defer func() { <-q.ahead }()
			if err := meanwhile(); err != nil {
				return err
			}
		default:
		}
		select {
		case <-before:
		case <-ctx.Done():
			return fmt.Errorf("wait for the batch before: %w", ctx.Err())
		}
	}
	select {
	case q.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for other batches: %w", ctx.Err())
	}
}

func (q *queue) release() { <-q.turn }
