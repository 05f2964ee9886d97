// Package archive keeps chain events: the history from which windows are computed again.
package archive

import (
	"context"
	"encoding/json"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/delivery"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// Name is the name of the function that keeps the archive.
const Name = "archive"

// Store is what the archive needs of the store.
type Store interface {
	// Watermark reads how far the function has applied the stream. From then on a stream that is registered is known to be
	// waited for by the function.
	Watermark(ctx context.Context, function, stream string) (watermark.Mark, error)
	// Archive locks the row of the archive on the stream, calls decide once and stores what it returns: everything or, where
	// decide or the store fails, nothing.
	Archive(ctx context.Context, request Request, decide func(Current) (Effects, error)) error
	// RenewArchivePartitions makes room for what happens around now and ahead of it, where there is none.
	RenewArchivePartitions(ctx context.Context, now time.Time) error
	// ExpireArchive drops what happened in months that ended so long ago, by the caller's clock and the store's own, after it has
	// raised the archive's floor.
	ExpireArchive(ctx context.Context, now time.Time, ago time.Duration) error
	// Ping tells whether the store answers.
	Ping(ctx context.Context) error
}

// Request names what a transaction will look at, and write.
type Request struct {
	Stream string
	Pairs  []delivery.Pair // that the batch holds
	Times  []time.Time     // of the batch's entries: Entry.Time
}

// Current is what the store holds, read under the lock.
type Current struct {
	Mark watermark.Mark
	// LowWater is the chain time up to which everything has come; zero where it is not known.
	LowWater time.Time
	Owners   delivery.Owners // of the pairs of the request
}

// Effects is what a batch leaves behind. The zero value changes nothing.
type Effects struct {
	Mark        watermark.Mark // zero: nothing is to be stored
	LowWater    time.Time
	Claims      []delivery.Pair // free pairs that belong to the stream from now on; sorted by Pair.Compare
	DeadLetters []delivery.DeadLetter
	Entries     []Entry // in stream order
	LeftOut     map[delivery.Pair]int64
}

// Entry is a stream entry in the archive.
type Entry struct {
	ID         events.ID
	Time       time.Time // chain time; of an entry that has none the time of its append, or 1970
	Hash       string    // content hash
	Chain      string    // empty where it cannot be read
	Height     int64     // of a block, or of a revert's ancestor; -1: of neither
	ParentHash string    // of a block
	LowWater   time.Time // of a block: no later one happened before
	Revert     *events.Revert
	Events     []Event
}

// Event is a chain event in the archive.
type Event struct {
	Type    string
	Ordinal int             // among the events of its entry
	Fields  json.RawMessage // as [events.Storable] gives them
	Exact   json.RawMessage // or nil
}
