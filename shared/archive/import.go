package archive

import (
	"context"
	"errors"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/delivery"
)

// ErrNothingArchived says that the archive has nothing of a stream, so that nothing lies below its end.
var ErrNothingArchived = errors.New("nothing of the stream is archived")

// ImportStore is what imports need of the store.
type ImportStore interface {
	// Import locks the row of the archive on the stream, calls decide once and stores what it returns, with requests for runs of
	// the windows concerned: everything or, where decide or the store fails, nothing. It fails with [ErrNothingArchived], and as
	// decide does.
	Import(ctx context.Context, request ImportRequest, decide func(Below) (ImportEffects, error)) error
	// CloseHoles notes which holes of the archive have been filled, and requests runs of the windows that were skipped while there
	// was one. It gives how many were filled; an error means that the store cannot be used.
	CloseHoles(ctx context.Context, stream string) (int64, error)
}

// ImportRequest names what a transaction will look at, and write.
type ImportRequest struct {
	Stream  string
	Entries []Imported
	Pairs   []delivery.Pair // that they hold
}

// ImportEffects is what some entries leave behind. The zero value changes nothing.
type ImportEffects struct {
	Entries []Imported
	Claims  []delivery.Pair // free pairs that belong to the stream from now on; sorted by Pair.Compare
	LeftOut map[delivery.Pair]int64
}

// Imported is an entry as its feed would have appended it.
type Imported struct {
	Entry
	Occurrence int // among entries of this content, from 1

	opened delivery.Entry
	refuse Refuse
}

// Refuse makes an error that says where an entry comes from, and what is wrong with it.
type Refuse func(format string, arguments ...any) error

// newImported opens an entry.
func newImported(stream string, entry events.Entry, refuse Refuse) (Imported, error) {
	opened := delivery.Open([]events.Delivery{events.NewDelivery(stream, entry, events.ID{})})[0]
	if opened.Verdict != nil {
		return Imported{}, refuse("%w", opened.Verdict)
	}
	kept, err := keep(opened, selection{})
	if err != nil {
		return Imported{}, refuse("%w", err)
	}
	if kept.Height < 0 {
		for i := range kept.Events {
			kept.Events[i].Ordinal = int(min(entry.ID.Minor, 1<<31-1))
		}
	}
	return Imported{Entry: kept, Occurrence: 1, opened: opened, refuse: refuse}, nil
}

// ImportCounts is what became of entries.
type ImportCounts struct {
	Imported int64
	Known    int64 // that the archive had
	Beyond   int64 // that lie above what is archived of the stream: they are left to its feed
}

// Import brings entries into the archive that lie below the end of a stream, in the order of their ids.
type Import struct {
	Store  ImportStore
	Stream string
	DryRun bool // nothing is stored
	Counts ImportCounts

	batch []Imported
	bytes int
	major uint64         // of the last entry
	same  map[string]int // how often each content was met of that
}

// Bounds of a transaction.
const (
	importedEntries = 500
	importedBytes   = 4 << 20
)

// Add takes an entry. Errors about it are made with refuse, here or when it is stored. It fails as [Import.Flush] does too.
func (i *Import) Add(ctx context.Context, entry events.Entry, refuse Refuse) error {
	e, err := newImported(i.Stream, entry, refuse)
	if err != nil {
		return err
	}
	if e.Height < 0 {
		if i.same == nil || i.major != entry.ID.Major { // the same content is of the same time
			i.major, i.same = entry.ID.Major, make(map[string]int)
		}
		i.same[e.Hash]++
		e.Occurrence = i.same[e.Hash]
	}
	i.batch = append(i.batch, e)
	i.bytes += len(e.opened.Delivery.Data)
	if len(i.batch) < importedEntries && i.bytes < importedBytes {
		return nil
	}
	return i.Flush(ctx)
}

// Flush stores what was taken. It fails with [ErrNothingArchived], and with what refuse has made of an entry.
func (i *Import) Flush(ctx context.Context) error {
	if len(i.batch) == 0 {
		return nil
	}
	opened := make([]delivery.Entry, len(i.batch))
	for n, e := range i.batch {
		opened[n] = e.opened
	}
	request := ImportRequest{Stream: i.Stream, Entries: i.batch, Pairs: delivery.Pairs(opened)}
	var counts ImportCounts
	err := i.Store.Import(ctx, request, func(below Below) (effects ImportEffects, err error) {
		effects, counts, err = below.effects(i.Stream, i.batch)
		if i.DryRun {
			effects = ImportEffects{}
		}
		return effects, err
	})
	if err != nil {
		return err
	}
	i.batch, i.bytes = nil, 0
	i.Counts.Imported += counts.Imported
	i.Counts.Known += counts.Known
	i.Counts.Beyond += counts.Beyond
	return nil
}

// Close stores what was taken, and what that means for holes. It gives how many were filled, and fails as [Import.Flush] does.
func (i *Import) Close(ctx context.Context) (filled int64, err error) {
	if err := i.Flush(ctx); err != nil || i.DryRun {
		return 0, err
	}
	return i.Store.CloseHoles(ctx, i.Stream)
}
