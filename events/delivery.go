package events

import (
	"encoding/json"
	"errors"
	"time"
)

// ErrInvalid says that a CloudEvent, or a batch of them, is none that its receiver takes. It is final: the same event is
// never accepted later.
var ErrInvalid = errors.New("invalid event")

// Types of the CloudEvents that a source sends.
const (
	TypeBlock  = "dev.chainmetrics.stream.block.v1"
	TypeEvent  = "dev.chainmetrics.stream.event.v1"
	TypeRevert = "dev.chainmetrics.stream.revert.v1"
	TypeRaw    = "dev.chainmetrics.stream.raw.v1"
)

// Types gives the types of all CloudEvents that this project sends or receives.
func Types() []string {
	return []string{
		TypeBlock, TypeEvent, TypeRevert, TypeRaw, TypePing, TypeRunRequested, TypeRunFailed, TypeRunRetried, TypeRunLate,
		TypeBucketFinalized, TypeBucketRevised, TypeBucketDrifted, TypeCheckFailed, TypeMetricChanged,
	}
}

// Names of the extension attributes of those CloudEvents. All values are strings.
const (
	ExtensionChain        = "chain"
	ExtensionPartitionKey = "partitionkey" // the stream
	ExtensionSequence     = "sequence"     // ID.Sequence of the entry
	ExtensionPredecessor  = "predecessor"  // ID.Sequence of the entry before it
	ExtensionContentHash  = "contenthash"
	// ExtensionPredecessorHash is the content hash of the entry before it, in the first delivery of a batch.
	ExtensionPredecessorHash = "predecessorhash"
	ExtensionAppendTime      = "appendtime" // RFC 3339, milliseconds
	ExtensionParentHash      = "parenthash" // of a block
	ExtensionTraceparent     = "traceparent"
	ExtensionTracestate      = "tracestate"
)

// Delivery is an entry on its way to a function.
type Delivery struct {
	Stream      string
	ID          ID
	Predecessor ID // the id before it in the stream as it was read; 0-0 for the first
	// PredecessorHash is the content hash of that entry, where it was known without reading it: of the watermark's own.
	PredecessorHash string
	Type            string    // one of the CloudEvent types
	Hash            string    // content hash: a block's own, otherwise SHA-256 in hex
	ParentHash      string    // of a block: the hash of the block before it; empty where the source did not tell
	Chain           string    // empty for raw
	Time            time.Time // chain time, UTC; zero for raw
	Appended        time.Time // UTC, milliseconds
	Traceparent     string
	Tracestate      string
	Data            json.RawMessage // as the schema of Type says
}

// Content is what an entry holds: either events in their order, or a revert.
type Content struct {
	Events []Event // a block's own event first
	Revert *Revert
}

// Event is one thing that happened on a chain.
//
// Fields holds string, bool, nil, json.Number, map[string]any or []any, as encoding/json decodes with UseNumber.
type Event struct {
	Type   string
	Chain  string
	Time   time.Time      // chain time, UTC, truncated to microseconds
	Place  ID             // among events of the same time: height and index in a block entry, otherwise the entry's own id
	Fields map[string]any // without type and chain
	Block  map[string]any // the fields of its block; nil outside a block entry
}

// Revert says that everything after an ancestor and before the revert's own entry did not happen.
type Revert struct {
	Ancestor ID     // the last entry that stays
	Number   uint64 // its height
	Hash     string // its block hash
}

// Unreadable is the verdict that an entry cannot be read. It depends on the entry alone, never on the clock or the
// function, so that every function agrees on it.
type Unreadable struct { //nolint:errname // a verdict, not a failure
	Reason string
}

// Error gives the reason.
func (u *Unreadable) Error() string { return u.Reason }
