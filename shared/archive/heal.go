package archive

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// Healing is what was found out of an open stream that has lost entries. No function has applied what the archive lacks.
type Healing struct {
	Stream string
	Reason string         // why it did not go on from the archive's mark
	Lost   watermark.Mark // that mark
	// Mark is the same place as the stream has it now, with the losses after it, which nobody has applied.
	Mark watermark.Mark
	// Next is the entry that is to follow those below the mark: what the stream has of the mark's id, otherwise the first beyond.
	Next events.ID
	// Newest is the last entry that the stream has below the mark.
	Newest events.ID
	// Late has the entries of the stream up to the mark that the archive lacked: they were appended after the loss, by a clock that
	// was behind. A function at one of them has applied it in the place of what was lost after the entry Common.
	Late   []events.ID
	Common events.ID
	// Gaps are the places of functions whose entry the stream does not have, each with the first entry that it has behind it.
	Gaps map[events.ID]events.ID
}

// Healer is what healing needs of the store.
type Healer interface {
	// Lacking tells by ID, Time and Hash which of some entries of a stream, from the archive's floor on, the archive does not have, and
	// beside which of these it has another one that it cannot keep it with.
	Lacking(ctx context.Context, stream string, entries []Entry) (lacking, taken []bool, err error)
	// Heal archives the entries of a request, which lie at or below the archive's mark, with requests for runs of their windows,
	// moves the functions to that mark as [Readers.HandOver] does, and notes the losses after it, all in one transaction.
	// A function that cannot be moved keeps its place, and goes on behind a loss. It does nothing, and gives false, where the
	// archive has another mark by now, or a function one beyond it that is not detached.
	Heal(ctx context.Context, request Request, healing Healing, decide func(Current) (Effects, error)) (bool, error)
}

// readBack is how many entries are read at once to find those that the archive lacks.
const readBack = 500

// heal has an open stream go on from the archive's mark, if it does not. Each step may be taken again. It leaves a stream alone of
// which a function, other than a detached one, has applied what the archive will never have: a person has to know.
func (t *Trimmer) heal(ctx context.Context, of Reader, readers []Reader) error {
	stream, at := of.Stream, of.Mark
	reason, err := t.buffer.Loss(ctx, stream, at)
	if err != nil || reason == "" {
		return err
	}
	if slices.ContainsFunc(readers, func(r Reader) bool { return r.Stream == stream && r.Mark.ID.Compare(at.ID) > 0 }) {
		return nil
	}
	h := Healing{Stream: stream, Reason: reason, Lost: at, Next: at.ID}
	var has bool
	if h.Mark, has, err = t.buffer.Mend(ctx, stream, at); err != nil {
		return err
	}
	if !has {
		h.Next = h.Mark.Holes[0].Next
	}
	if h.Gaps, err = t.gaps(ctx, stream, readers); err != nil {
		return err
	}
	late, err := t.late(ctx, &h)
	if err != nil {
		return fmt.Errorf("find what the archive lacks of %s: %w", stream, err)
	}
	healed, err := t.record(ctx, h, late)
	if healed {
		slog.WarnContext(ctx, "stream has lost entries, it goes on behind them", "stream", stream, "after", at.ID.String(), "lost", reason,
			"archived", len(late))
	}
	return err
}

// gaps finds where functions stand at nothing that a stream has. Once it is mended, none of these can go on.
func (t *Trimmer) gaps(ctx context.Context, stream string, readers []Reader) (map[events.ID]events.ID, error) {
	gaps := make(map[events.ID]events.ID)
	for _, r := range readers {
		if r.Stream != stream {
			continue
		}
		next, has, err := t.buffer.After(ctx, stream, r.Mark.ID)
		if err != nil {
			return nil, err
		}
		if !has && !next.IsZero() {
			gaps[r.Mark.ID] = next
		}
	}
	return gaps, nil
}

// reasonTaken is that of an entry which the archive cannot keep beside the one that was lost.
const reasonTaken = "the archive has another entry of this id and time, which the stream has lost"

// late gives the entries up to the mark that the archive lacks, in stream order. All of them lie behind the last that it has.
func (t *Trimmer) late(ctx context.Context, h *Healing) (late []events.Delivery, err error) {
	for below, more := h.Lost.ID.Next(), true; more; {
		page, err := t.buffer.Back(ctx, h.Stream, below, readBack)
		if err != nil {
			return nil, err
		}
		deliveries, entries := make([]events.Delivery, len(page)), make([]Entry, len(page))
		for i, entry := range page {
			deliveries[i] = events.NewDelivery(h.Stream, entry, events.ID{})
			entries[i] = bare(deliveries[i])
		}
		lacking, taken, err := t.healer.Lacking(ctx, h.Stream, entries)
		if err != nil {
			return nil, err
		}
		more = len(page) == readBack
		for i, entry := range page {
			if below = entry.ID; h.Newest.IsZero() && below.Compare(h.Lost.ID) < 0 {
				h.Newest = below
			}
			switch {
			case !lacking[i] && h.Common.IsZero():
				h.Common, more = below, false
			case lacking[i] && h.Common.IsZero() && !entry.IsMarker():
				d := deliveries[i]
				if taken[i] {
					d = events.NewUnreadable(h.Stream, entry, events.ID{}, reasonTaken)
				}
				late, h.Late = append(late, d), append(h.Late, entry.ID)
			}
		}
	}
	slices.Reverse(late)
	return late, nil
}

// record stores what was found out. Of an entry whose id is taken only the dead letter is kept.
func (t *Trimmer) record(ctx context.Context, h Healing, late []events.Delivery) (healed bool, err error) {
	w := &work{stream: h.Stream, batch: late, selection: t.selection}
	if err := w.read(ctx); err != nil {
		return false, err
	}
	return t.healer.Heal(ctx, w.request(), h, func(current Current) (Effects, error) {
		effects := w.effects(0, current)
		kept := effects.Entries[:0]
		for i, e := range w.opened {
			if e.Verdict == nil || e.Verdict.Error() != reasonTaken {
				kept = append(kept, effects.Entries[i])
			}
		}
		effects.Entries = kept
		return effects, nil
	})
}
