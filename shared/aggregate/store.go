package aggregate

import (
	"context"
	"errors"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/delivery"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// ErrStale says that the registry was changed since it was read: read it again, evaluate again.
var ErrStale = errors.New("the registry has changed")

// Store is what a function needs of the store.
type Store interface {
	// Watermark reads how far the function has applied the stream. From then on a stream that is registered is known to be
	// waited for by the function.
	Watermark(ctx context.Context, function, stream string) (watermark.Mark, error)
	// Registry reads, in one snapshot, the definitions of the function's metric type and the version of the pair's row,
	// which it makes where there is none.
	Registry(ctx context.Context, function, stream string) (Registry, error)
	// Commit locks the row of (function, stream), reads what is stored, calls decide once and stores what it returns:
	// everything or, where decide or the store fails, nothing. It fails with [ErrStale] where there is no row.
	Commit(ctx context.Context, request CommitRequest, decide func(Current) (Effects, error)) error
	// AwaitArchive returns when the archive has an entry of a stream, takes no part in it, or after some patience.
	AwaitArchive(ctx context.Context, stream string, entry events.ID, patience time.Duration) error
	// RenewPartitions makes room for the windows of a size around now and ahead of it, where there is none.
	RenewPartitions(ctx context.Context, size bucket.Size, now time.Time) error
	// Ping tells whether the store answers.
	Ping(ctx context.Context) error
}

// Registry is the definitions that concern a stream at one version.
type Registry struct {
	Version int64
	Metrics []Metric
	// Open says that any producer may append to the stream, so that nobody can put up again what Redis loses of it.
	Open bool
	// Rebuilding has the windows, for all dimensions, that are computed again from the archive, each with its generation.
	Rebuilding map[bucket.Key]int64
}

// Metric is a definition with its id in the registry.
type Metric struct {
	ID               int64
	Definition       metric.Definition
	OldestGeneration int64 // buckets of an older generation were made by another calculation
}

// CommitRequest names what a commit will look at.
type CommitRequest struct {
	Function, Stream string
	Open             bool            // as in [Registry]: the mark of the archive is read too
	Keys             []bucket.Key    // sorted by Key.Compare, none twice
	Windows          []bucket.Key    // for all dimensions: those of the keys whose sets are to be counted; sorted
	Pairs            []delivery.Pair // that the batch holds
}

// Current is what the store holds, read under the lock.
type Current struct {
	Mark    watermark.Mark
	Version int64
	// Archived is the last entry that the archive has of an open stream; nil where it takes no part in it.
	Archived *events.ID
	// LowWater is the chain time up to which everything has come; zero where it is not known.
	LowWater time.Time
	// HighestLowWater is the highest one that there ever was: windows that end later have never been final.
	HighestLowWater time.Time
	Owners          delivery.Owners       // of the pairs of the request
	States          map[bucket.Key][]byte // of those keys that are stored
	Parts           map[bucket.Key]Part   // of those that a rebuild concerns, or has concerned
	Sets            map[bucket.Key]Sets   // of each of the request's windows
}

// Effects is what a batch leaves behind. The zero value changes nothing.
type Effects struct {
	Mark         watermark.Mark // zero: nothing is to be stored
	LowWater     time.Time
	Claims       []delivery.Pair // free pairs that belong to the stream from now on; sorted by Pair.Compare
	Buckets      []Bucket        // sorted by Key.Compare
	Late         []bucket.Key    // for all dimensions: windows of which everything was once taken to have come
	Sets         []WindowSets    // of those windows of the request that the store is to remember; sorted by Key.Compare
	DeadLetters  []delivery.DeadLetter
	MetricErrors []MetricError
	Reverts      []PendingRevert
}

// Part is what a bucket has beside its state for the sake of rebuilds.
type Part struct {
	Generation     int64  // the rebuild on which the state is based; 0 for none
	Next           []byte // what the stream has brought since the cut of a rebuild
	NextGeneration int64  // that rebuild; 0 for none
}

// Bucket is a bucket to be stored in place of the one with its key.
type Bucket struct {
	Key        bucket.Key
	New        bool  // there was none with the key
	Generation int64 // of one that is new
	Outdated   bool  // the one that is stored was made by another calculation: it stays, and only Next is stored
	Changed    bool  // a rebuild shows something else than what is stored, or something where there was nothing
	State      []byte
	Value      decimal.Decimal
	Detail     []byte // JSON object or nil
	// Next belongs to the rebuild NextGeneration of its window. Where that is 0, the one that is stored stays.
	Next           []byte
	NextGeneration int64
}

// Sets is how many buckets a window of a metric and chain holds: one for each set of dimensions.
type Sets struct {
	Count  int
	Forgot bool // the store did not remember it, but had to count
}

// WindowSets is what the store is to remember of a window.
type WindowSets struct {
	Window bucket.Key // for all dimensions
	Count  int
}

// MetricError counts the events of a batch for which a metric could not be evaluated, by reason; of a window that has no
// room for their dimensions, the observations.
type MetricError struct {
	Metric int64
	Reason string
	Count  int64
	Sample events.ID // the newest entry with such an event
}

// PendingRevert is a revert whose events the batch layer has still to take back.
type PendingRevert struct {
	ID     events.ID // the revert's own entry
	Revert events.Revert
}
