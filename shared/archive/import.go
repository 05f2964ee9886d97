package archive

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/delivery"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
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

// Below is what the store holds of a stream below its end, read under the lock.
type Below struct {
	Mark     watermark.Mark
	LowWater time.Time
	Feed     bool      // ids are those of a feed, so that they tell what lies below
	Floor    time.Time // of the archive; zero: minus infinity
	Height   int64     // of the newest block, -1 where there is none
	Owners   delivery.Owners
	LeftOut  map[delivery.Pair]bool // pairs that the archive leaves out
	Blocks   map[int64]Block        // that it has of the request's heights, and of those beside them
	Held     map[string]int         // how many flat entries it has of each content hash of the request
}

// Block is a block of the archive.
type Block struct {
	Hash, Parent string // Parent is empty, or zeros, where it is not known
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
	kept, err := keep(opened, func(string) bool { return true })
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

// beyond tells whether the stream can still bring an entry.
func (b Below) beyond(e Imported) bool {
	switch {
	case b.Feed && e.Height >= 0:
		return e.Height > b.Height
	case b.Feed:
		return e.ID.Compare(b.Mark.ID) > 0
	default:
		return b.LowWater.IsZero() || e.Time.After(b.LowWater.Add(delivery.Lateness))
	}
}

// has tells whether the archive has an entry. It fails where it has another block in its place.
func (b Below) has(e Imported) (bool, error) {
	if e.Height < 0 {
		return e.Occurrence <= b.Held[e.Hash], nil
	}
	if block, ok := b.Blocks[e.Height]; ok {
		if block.Hash != e.Hash {
			return false, e.refuse("block %d is %s, the archive has %s", e.Height, e.Hash, block.Hash)
		}
		return true, nil
	}
	if parent, ok := b.Blocks[e.Height-1]; ok && differ(e.ParentHash, parent.Hash) {
		return false, e.refuse("block %d is the child of %s, the archive has %s below it", e.Height, e.ParentHash, parent.Hash)
	}
	if child, ok := b.Blocks[e.Height+1]; ok && differ(child.Parent, e.Hash) {
		return false, e.refuse("block %d is %s, the archive has a child of %s above it", e.Height, e.Hash, child.Parent)
	}
	return false, nil
}

// differ tells whether the hash of a parent, where it is known, is another one.
func differ(parent, hash string) bool { return strings.Trim(parent, "0") != "" && parent != hash }

// effects gives what entries leave behind, and how many there were of what kind.
func (b Below) effects(stream string, batch []Imported) (effects ImportEffects, counts ImportCounts, err error) {
	effects.LeftOut = make(map[delivery.Pair]int64)
	var opened []delivery.Entry
	for _, e := range batch {
		if b.beyond(e) {
			counts.Beyond++
			continue
		}
		held, err := b.has(e)
		if err != nil {
			return ImportEffects{}, counts, err
		}
		if held {
			counts.Known++
			continue
		}
		if e.Time.Before(b.Floor) {
			return ImportEffects{}, counts, e.refuse("it is of %s, the archive is whole from %s on, and keeps nothing from before",
				e.Time.Format(time.RFC3339), b.Floor.Format(time.RFC3339))
		}
		if letter, refused := e.opened.Refuse(stream, b.Owners); refused {
			return ImportEffects{}, counts, e.refuse("%s", letter.Reason)
		}
		selected := e.Events[:0:0]
		for _, event := range e.Events {
			if pair := (delivery.Pair{Chain: e.Chain, EventType: event.Type}); b.LeftOut[pair] {
				effects.LeftOut[pair]++
				continue
			}
			selected = append(selected, event)
		}
		e.Events = selected
		b.Blocks[e.Height] = Block{Hash: e.Hash, Parent: e.ParentHash}
		effects.Entries, opened = append(effects.Entries, e), append(opened, e.opened)
		counts.Imported++
	}
	effects.Claims = delivery.Claims(opened, stream, b.Owners)
	return effects, counts, nil
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
