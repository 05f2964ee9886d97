package delivery

import (
	"context"
	"fmt"
	"sync"

	"github.com/chainmetrics/chainmetrics/events"
)

// Queues are those of a function, one for each stream. Their zero value is ready for use.
type Queues struct {
	mu       sync.Mutex
	byStream map[string]*Queue
}

// Of gives the queue of a stream.
func (q *Queues) Of(stream string) *Queue {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.byStream == nil {
		q.byStream = make(map[string]*Queue)
	}
	if q.byStream[stream] == nil {
		q.byStream[stream] = &Queue{
			turn: make(chan struct{}, 1), ahead: make(chan struct{}, 1), underway: make(map[events.ID]expected),
		}
	}
	return q.byStream[stream]
}

// Queue keeps the batches of a stream in order while several are under way.
type Queue struct {
	turn  chan struct{} // is held by one batch at a time: a second would only wait for the same row of the store
	ahead chan struct{} // is held by one batch that was evaluated before its turn: more would only need memory

	mu       sync.Mutex
	underway map[events.ID]expected // by the last entry of each
}

// expected is a batch on its way.
type expected struct {
	done chan struct{}
	over func() // closes done, once
}

// Expect makes the batch that follows an entry wait for the one that ends with it, until that is over.
func (q *Queue) Expect(last events.ID) (over func()) {
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
func (q *Queue) before(entry events.ID) chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.underway[entry].done
}

// Reached says that everything up to an entry is applied: nothing waits for the batch that ends with it any more, which may
// come once more.
func (q *Queue) Reached(entry events.ID) {
	q.mu.Lock()
	over := q.underway[entry].over
	q.mu.Unlock()
	if over != nil {
		over()
	}
}

// Take gives the turn to the batch that follows an entry, once the one that ends with it is over, if that is under way. Until
// then there is something to do meanwhile, unless another batch does so. It fails as that does, and when the context ends.
func (q *Queue) Take(ctx context.Context, predecessor events.ID, meanwhile func() error) error {
	if before := q.before(predecessor); before != nil {
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

// Release gives the turn back.
func (q *Queue) Release() { <-q.turn }
