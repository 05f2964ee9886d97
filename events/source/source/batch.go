package source

import (
	"context"
	"sync"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

const (
	// longestCaution is how many batches are sent one by one at most, before another is sent ahead.
	longestCaution = 256
	// aheadBatches is how many batches two may be as long as, to be sent before the first of them is answered.
	aheadBatches = 4
)

// batch is entries on their way from Redis to the function.
type batch struct {
	after   watermark.Mark // what was asked for
	read    chan struct{}  // closed once it is known what there is
	entries []events.Delivery
	encoded []byte
	err     error

	sending *attempt // nil: not under way
	next    *batch   // nil: not asked for yet
}

// end is where a function stands that has applied the batch.
func (b *batch) end() watermark.Mark {
	last := b.entries[len(b.entries)-1]
	return watermark.Mark{ID: last.ID, Hash: last.Hash, Holes: b.after.Holes}
}

// read starts to read the batch after a mark.
func (f *follower) read(ctx context.Context, after watermark.Mark) *batch {
	b := &batch{after: after, read: make(chan struct{})}
	limit := f.limit
	go func() {
		defer close(b.read)
		if b.entries, b.err = f.redis.Read(ctx, f.stream, after, limit); b.err == nil && len(b.entries) > 0 {
			b.encoded, b.err = f.sink.encode(b.entries)
		}
	}()
	return b
}

// readOn starts to read what follows a batch, unless it was.
func (f *follower) readOn(ctx context.Context, b *batch) {
	if b.next == nil {
		b.next = f.read(ctx, b.end())
	}
}

// attempt is a request to the function.
type attempt struct {
	ahead   bool          // before it is known that the batch before has been applied
	entries int           // of the batch
	last    events.ID     // of them
	written chan struct{} // closed once the function has been sent the whole batch
	done    chan struct{} // closed once there is an answer
	said    answer
	err     error
}

// send starts to send a batch. The function has some time for its answer, also after ctx has ended.
func (f *follower) send(ctx context.Context, b *batch, ahead bool) *attempt {
	a := &attempt{
		ahead: ahead, entries: len(b.entries), last: b.end().ID, written: make(chan struct{}), done: make(chan struct{}),
	}
	go func() {
		defer close(a.done)
		longer, cancel := graceful(ctx, f.cfg.Grace)
		defer cancel()
		written := sync.OnceFunc(func() { close(a.written) })
		traced, s := f.trace(longer, b.entries)
		a.said, a.err = f.sink.deliver(traced, f.stream, a.last, b.encoded, written)
		f.traced(s, a)
	}()
	return a
}

// result waits for the answer, and notes what it says.
func (f *follower) result(a *attempt) (answer, error) {
	<-a.done
	f.count(a)
	if a.err == nil && a.said.applied > 0 {
		f.quarantine.neighbour = a.said.mark
	}
	if a.err == nil && !a.said.refused && !a.outrun() {
		f.outruns = 0
	}
	return a.said, a.err
}

// outrun tells whether another source has applied most of a batch first. A function that stands within the batch, or before it,
// waits for the archive: nobody was faster.
func (a *attempt) outrun() bool {
	return 2*a.said.applied < a.entries && a.said.mark.Compare(a.last) >= 0
}

// sendAhead starts to send what follows a batch as soon as that one is on its way: so the function meets them in their order. It
// does nothing where there is an answer before, where the batches are such as the function has trouble with, and where they
// are large: two of them would need much memory there.
func (f *follower) sendAhead(ctx context.Context, b *batch) {
	select {
	case <-b.sending.done:
		return
	case <-b.sending.written:
	}
	select {
	case <-b.sending.done:
		return
	case <-b.next.read:
	}
	select {
	case <-b.sending.done: // both may have been so
		return
	default:
	}
	small := int64(len(b.encoded)+len(b.next.encoded)) <= aheadBatches*f.cfg.BatchBytes
	if ctx.Err() != nil || b.next.err != nil || len(b.next.entries) == 0 || f.limit.Count < f.cfg.BatchEntries || !small {
		return
	}
	if !f.caution.allows() {
		return
	}
	b.next.sending = f.send(ctx, b.next, true)
	f.readOn(ctx, b.next)
}

// caution is how many batches are sent one by one after some that were sent ahead in vain: the function met them before those
// that they follow, since requests may overtake each other or it has several processes, or two at once were too much for it.
type caution struct{ left, next int }

func (c *caution) vain() {
	c.next = min(max(1, 4*c.next), longestCaution)
	c.left = c.next
}

func (c *caution) fine() { c.next /= 2 }

func (c *caution) allows() bool {
	if c.left == 0 {
		return true
	}
	c.left--
	return false
}

// drop lets everything end that is under way for a batch and those that follow it. Whatever comes of that, the function knows
// where it stands.
func (f *follower) drop(b *batch) {
	for ; b != nil; b = b.next {
		<-b.read
		if b.sending != nil {
			_, _ = f.result(b.sending)
			b.sending = nil
		}
	}
}
