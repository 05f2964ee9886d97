package events

// Names of the fields of a stream entry. Fields whose names begin with "chainmetrics." are metadata: they are not part
// of the content hash, and producers of open streams may not use them.
const (
	// FieldKind is "block" or "revert" in the entries of a feed that carry one, "marker" where entries were lost; a flat event has
	// no such field.
	FieldKind = "chainmetrics.kind"
	// FieldAppended is the time at which a feed appended the entry, in milliseconds since 1970. In an open stream the
	// entry's id says it.
	FieldAppended = "chainmetrics.appended_at"

	FieldType       = "type"        // of a flat event: its event type
	FieldChain      = "chain"       // the blockchain network
	FieldTimestamp  = "timestamp"   // chain time: Unix seconds, which may have a fraction, or RFC 3339
	FieldNumber     = "number"      // of a block or an ancestor: its height
	FieldHash       = "hash"        // of a block or an ancestor: its hash
	FieldParentHash = "parent_hash" // of a block: the hash of the block before it
	FieldAncestor   = "ancestor"    // of a revert: the entry id of the last block that stays
	FieldData       = "data"        // of a block: JSON {"block": {…}, "events": [{"type": …, …}, …]}
	FieldJSON       = "json"        // of a flat event, instead of all others: an object with type, chain, timestamp, fields

	FieldTraceparent = "traceparent" // W3C trace context; metadata as well
	FieldTracestate  = "tracestate"
)

// Field is one name and value of an entry. Redis keeps their order, and may hold a name twice.
type Field struct {
	Name, Value string
}

// Entry is one item of a stream: one event, or one block with all its events.
type Entry struct {
	ID     ID
	Fields []Field
}
