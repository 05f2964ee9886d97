package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// locate finds the stream's end and the lowest watermark, verifies that both are of this chain, and mends the stream
// where it has lost entries that a function still needs.
func (f *feed) locate(ctx context.Context) error {
	if err := f.register(ctx); err != nil {
		return err
	}
	functions, info, err := f.look(ctx)
	if err != nil {
		return err
	}
	if err := f.verifyMarks(functions); err != nil {
		return err
	}
	marks := postgres.MarksOf(functions)
	f.lowest = watermark.Lowest(marks)
	f.checked = f.now()
	if err := f.verifyEnd(ctx, info); err != nil {
		return err
	}
	reason, err := f.loss(ctx, info, marks)
	if err != nil {
		return err
	}
	if reason != "" {
		again, _, err := f.look(ctx)
		if err != nil {
			return err
		}
		if watermark.Lowest(postgres.MarksOf(again)).ID != f.lowest.ID {
			return fmt.Errorf("%w: what %s lacks may have been applied and trimmed meanwhile", errMoved, f.cfg.Stream)
		}
		return f.heal(ctx, info, reason)
	}
	f.end = info.Last
	return nil
}

// look asks the servers for the stream, and for the functions that go on in it.
func (f *feed) look(ctx context.Context) (functions []postgres.FunctionMark, info redisstream.Info, err error) {
	if functions, err = f.store.Marks(ctx, f.cfg.Stream); err != nil {
		return nil, info, failure{ofPostgres, err}
	}
	if info, err = f.redis.Info(ctx, f.cfg.Stream); err != nil {
		return nil, info, failure{ofRedis, err}
	}
	return postgres.Needed(functions, info.Lacks), info, nil
}

// register makes the stream known to both servers. Redis is told each time, since it may have lost that too.
func (f *feed) register(ctx context.Context) error {
	if !f.registered {
		stream := postgres.Stream{Name: f.cfg.Stream, Mode: postgres.ModeFeed, Chain: f.cfg.Chain}
		if err := f.store.RegisterStream(ctx, stream); err != nil {
			return failure{ofPostgres, err}
		}
		f.registered = true
	}
	if err := f.redis.Announce(ctx, f.cfg.Stream); err != nil {
		return failure{ofRedis, err}
	}
	return nil
}

// verifyMarks verifies what the functions have applied.
func (f *feed) verifyMarks(marks []postgres.FunctionMark) error {
	for _, m := range marks {
		if m.Mark.ID.IsZero() {
			continue
		}
		if err := f.verify(m.Mark.ID, m.Mark.Hash); err != nil {
			return fmt.Errorf("watermark of %s in %s: %w; feed the files that it was made from, or another STREAM",
				m.Function, f.cfg.Stream, err)
		}
	}
	return nil
}

// verify fails with errForeign where an entry's hash is not that of the chain's block at its height, and with errBeyond
// where the chain has none there yet.
func (f *feed) verify(at events.ID, hash string) error {
	if at.Major != 0 || at.Minor == 0 {
		return fmt.Errorf("entry %s is no block of the first epoch: %w", at, errForeign)
	}
	number := at.Minor - 1
	ours, ok := f.chain.Hash(number)
	switch {
	case !ok && number > f.chain.Tip():
		return fmt.Errorf("block %d %s: %w, which ends with block %d", number, hash, errBeyond, f.chain.Tip())
	case !ok:
		return fmt.Errorf("block %d %s: %w, which begins with block %d", number, hash, errForeign, f.chain.First())
	case ours != hash:
		return fmt.Errorf("block %d %s: %w, which has %s there", number, hash, errForeign, ours)
	}
	return nil
}

// verifyEnd verifies the last entry, before anything is appended after it or put in its place.
func (f *feed) verifyEnd(ctx context.Context, info redisstream.Info) error {
	if info.Length == 0 || isIntrusion(info) {
		return nil
	}
	entries, err := f.redis.Range(ctx, f.cfg.Stream, info.LastEntry, info.LastEntry, 1)
	switch {
	case err != nil:
		return failure{ofRedis, err}
	case len(entries) == 0:
		return fmt.Errorf("%w: entry %s of %s has gone", errMoved, info.LastEntry, f.cfg.Stream)
	}
	if err := f.verify(info.LastEntry, entries[0].ContentHash()); err != nil {
		return fmt.Errorf("end of %s: %w; feed the files that it was fed from, keep FEED_CONFIRMATIONS blocks away from "+
			"branches that are given up, or feed another STREAM", f.cfg.Stream, err)
	}
	return nil
}

// loss tells what the stream lacks between the lowest watermark's own entry and its end, beyond what every feed looks
// for: this one can also mend what a person has accepted as lost. Nothing where it is whole.
func (f *feed) loss(ctx context.Context, info redisstream.Info, marks []watermark.Mark) (reason string, err error) {
	first := id(f.chain.First())
	switch {
	case isIntrusion(info):
		return fmt.Sprintf("entry %s was added by another producer", info.LastEntry), nil
	case info.MaxDeleted.Compare(f.lowest.ID) > 0:
		return fmt.Sprintf("entry %s was deleted", info.MaxDeleted), nil
	case f.lowest.ID.IsZero() && !info.Last.IsZero() && info.First != first:
		return "its beginning was removed", nil
	}
	// Where the stream was rolled back, though not below the lowest mark, what is appended next is what it lacks.
	reached := slices.DeleteFunc(slices.Clone(marks), func(m watermark.Mark) bool {
		return m.ID.Compare(info.Last) > 0 && m.ID != f.lowest.ID
	})
	if reason, err = f.redis.Lost(ctx, f.cfg.Stream, reached); err != nil {
		return "", failure{ofRedis, err}
	}
	return reason, nil
}

// isIntrusion tells whether somebody has added an entry behind those of a feed, with an id that Redis made from its
// clock: no chain has as many reorganisations as there are milliseconds. A stream that begins so is not a feed's.
func isIntrusion(info redisstream.Info) bool {
	const clock = 1_000_000_000_000
	return info.First.Major < clock && info.LastEntry.Major > clock
}

// heal puts the stream up again from the lowest watermark's own entry, where the functions go on to read. The first
// batch replaces the stream, fenced; the others are appended as ever.
func (f *feed) heal(ctx context.Context, info redisstream.Info, reason string) error {
	first := f.chain.First()
	from := max(first+1, f.lowest.ID.Minor) - 1
	f.log.WarnContext(ctx, "the stream has lost entries, feeding it again", "stream", f.cfg.Stream, "reason", reason,
		"from", id(from), "end", info.Last)
	batch, err := f.batch(ctx, from, f.cfg.BatchEntries)
	if err != nil {
		return err
	}
	if len(batch) == 0 {
		return fmt.Errorf("heal %s from block %d: %w, as far as that has %d confirmations", f.cfg.Stream, from, errBeyond,
			f.cfg.Confirmations)
	}
	if err := f.redis.Replace(ctx, f.cfg.Stream, info, from-first, events.ID{}, batch); err != nil {
		return failure{ofRedis, fmt.Errorf("heal %s: %w", f.cfg.Stream, err)}
	}
	f.progress.heals.Inc()
	f.appended(batch)
	return nil
}
