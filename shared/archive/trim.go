package archive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// Reader is a function that applies a stream, and keeps it from being trimmed beyond what it has applied. The archive is one too.
type Reader struct {
	Function, Stream string
	Open             bool // any producer may append to the stream
	Mark             watermark.Mark
	Movable          bool // the archive has what it has still to apply: it may be moved to the archive's mark
}

// Readers is what trimming needs of the store.
type Readers interface {
	// Readers gives the functions that apply registered streams, without those that are detached.
	Readers(ctx context.Context) ([]Reader, error)
	// ArchivedMore tells whether the archive has more entries of a stream after a function's mark than a number, and the windows
	// that they may concern lie above its floor.
	ArchivedMore(ctx context.Context, r Reader, than int64) (bool, error)
	// HandOver moves a function from an entry to the archive's watermark, which it gives, in one transaction with a note of what
	// the function has passed over, so that runs compute the windows of that from the archive. It gives 0-0, and does nothing,
	// where the function is not there any more, or the archive does not have all of that.
	HandOver(ctx context.Context, function, stream string, from events.ID) (events.ID, error)
}

// Buffer holds the streams.
type Buffer interface {
	// Lacks tells whether a stream goes on without the entry of an id, or at 0-0 without its first one.
	Lacks(ctx context.Context, stream string, id events.ID) (bool, error)
	// Trim removes the entries of a stream below an id, the oldest first, as long as more than keep are left, and gives how many.
	Trim(ctx context.Context, stream string, below events.ID, keep int64) (int64, error)
	// Loss gives the reason for which a stream does not go on from a mark; empty where it does.
	Loss(ctx context.Context, stream string, at watermark.Mark) (string, error)
	// Mend has a stream go on from a mark: it gives that as it is in the stream then, with the losses after it, and whether the
	// stream has something of its id. Nothing can be added up to there any more. Again is the same as once.
	Mend(ctx context.Context, stream string, at watermark.Mark) (mended watermark.Mark, has bool, err error)
	// Back reads up to count entries of a stream below an id, the last one first.
	Back(ctx context.Context, stream string, below events.ID, count int64) ([]events.Entry, error)
	// After gives the first entry of a stream behind an id, 0-0 for none, and whether the stream has one of the id.
	After(ctx context.Context, stream string, id events.ID) (next events.ID, has bool, err error)
}

// Trimmer is the archive as it looks after the streams: its ticks trim them, and heal open ones.
type Trimmer struct {
	*Function
	keep, maxLag int64 // as in Config
	readers      Readers
	healer       Healer
	buffer       Buffer
}

// NewTrimmer makes the function over a store and the buffer of its streams.
func NewTrimmer(cfg Config, store interface {
	Store
	Readers
	Healer
}, buffer Buffer,
) *Trimmer {
	return &Trimmer{
		Function: NewFunction(cfg, store), keep: cfg.Keep, maxLag: cfg.MaxLag, readers: store, healer: store, buffer: buffer,
	}
}

// Tick does what [Function.Tick] does, then heals open streams that have lost entries, hands functions over that are too far
// behind, or cannot go on where they stand, and trims every stream to what all its functions have applied.
func (t *Trimmer) Tick(ctx context.Context, tick events.Tick, now time.Time) error {
	ticked := t.Function.Tick(ctx, tick, now)
	if errors.Is(ticked, events.ErrInvalid) {
		return ticked
	}
	readers, err := t.readers.Readers(ctx)
	if err != nil {
		return errors.Join(ticked, fmt.Errorf("trim: %w", err))
	}
	failed := []error{ticked} // the streams are kept short all the same
	for _, r := range readers {
		if r.Function == Name && r.Open {
			failed = append(failed, t.heal(ctx, r, readers))
		}
	}
	readers, err = t.readers.Readers(ctx)
	failed = append(failed, err)
	for _, r := range readers {
		failed = append(failed, t.handOver(ctx, r))
	}
	// A mark only grows, so that what lies below these is needed by none of them whenever it is removed.
	readers, err = t.readers.Readers(ctx)
	failed = append(failed, err)
	for stream, below := range lowest(readers) {
		removed, err := t.buffer.Trim(ctx, stream, below, t.keep)
		if removed > 0 {
			slog.InfoContext(ctx, "stream trimmed", "stream", stream, "below", below.String(), "entries", removed)
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// handOver moves a function to the archive's watermark where it has to be.
func (t *Trimmer) handOver(ctx context.Context, r Reader) error {
	if !r.Movable {
		return nil
	}
	over, err := t.cannotGoOn(ctx, r)
	if err == nil && !over && t.maxLag > 0 {
		over, err = t.readers.ArchivedMore(ctx, r, t.maxLag)
	}
	if err != nil || !over {
		return err
	}
	until, err := t.readers.HandOver(ctx, r.Function, r.Stream, r.Mark.ID)
	if err == nil && !until.IsZero() {
		slog.WarnContext(ctx, "function moved to the archive's watermark", "function", r.Function, "stream", r.Stream,
			"from", r.Mark.ID.String(), "to", until.String())
	}
	return err
}

// cannotGoOn tells whether a function will not find in a stream what it has still to apply. What a feed has lost, it puts up again.
func (t *Trimmer) cannotGoOn(ctx context.Context, r Reader) (bool, error) {
	if !r.Open {
		return t.buffer.Lacks(ctx, r.Stream, r.Mark.ID)
	}
	reason, err := t.buffer.Loss(ctx, r.Stream, r.Mark)
	return reason != "", err
}

// lowest gives the entry below which a stream may be trimmed, for those of which the archive has something. While an accepted
// loss lies ahead of a function, the beginning of the stream tells whether more was lost: it stays.
func lowest(readers []Reader) map[string]events.ID {
	marks := make(map[string][]watermark.Mark)
	archived, frozen := make(map[string]bool), make(map[string]bool)
	for _, r := range readers {
		marks[r.Stream] = append(marks[r.Stream], r.Mark)
		archived[r.Stream] = archived[r.Stream] || r.Function == Name
		frozen[r.Stream] = frozen[r.Stream] || len(r.Mark.Holes) > 0
	}
	below := make(map[string]events.ID)
	for stream, of := range marks {
		if id := watermark.Lowest(of).ID; archived[stream] && !frozen[stream] && !id.IsZero() {
			below[stream] = id
		}
	}
	return below
}
