package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Values of FieldKind.
const (
	kindBlock  = "block"
	kindRevert = "revert"
)

// BlockEvent is the event type of a block's own event.
const BlockEvent = "block"

// Block is what a feed knows of a block. Fields and each of Events are marshalled to JSON objects; Fields has at least
// "number", "hash" and "timestamp", which equal those of the block, and each event has its event type as "type".
type Block struct {
	Chain      string
	Number     uint64 // height
	Hash       string
	ParentHash string
	Time       time.Time // of the header
	Fields     any
	Events     []any
}

// NewBlockEntry makes the entry of a block, appended at a time of the feed's clock. It fails where a function could not
// read the entry.
func NewBlockEntry(id ID, b Block, appended time.Time) (Entry, error) {
	list := b.Events
	if list == nil {
		list = []any{}
	}
	data, err := marshal(map[string]any{"block": b.Fields, "events": list})
	if err != nil {
		return Entry{}, fmt.Errorf("marshal block %d: %w", b.Number, err)
	}
	entry := Entry{ID: id, Fields: []Field{
		{FieldKind, kindBlock},
		{FieldAppended, strconv.FormatInt(appended.UnixMilli(), 10)},
		{FieldChain, b.Chain},
		{FieldTimestamp, b.Time.UTC().Truncate(time.Microsecond).Format(time.RFC3339Nano)},
		{FieldNumber, strconv.FormatUint(b.Number, 10)},
		{FieldHash, b.Hash},
		{FieldParentHash, b.ParentHash},
		{FieldData, string(data)},
	}}
	if _, err := read("", entry, ID{}); err != nil {
		return Entry{}, fmt.Errorf("block %d: %w", b.Number, err)
	}
	return entry, nil
}

// NewRevertEntry makes the entry that reverts everything after an ancestor. Its id is the first of a new epoch, "E-0".
func NewRevertEntry(id ID, chain string, r Revert, appended time.Time) (Entry, error) {
	entry := Entry{ID: id, Fields: []Field{
		{FieldKind, kindRevert},
		{FieldAppended, strconv.FormatInt(appended.UnixMilli(), 10)},
		{FieldChain, chain},
		{FieldAncestor, r.Ancestor.String()},
		{FieldNumber, strconv.FormatUint(r.Number, 10)},
		{FieldHash, r.Hash},
	}}
	if _, err := read("", entry, ID{}); err != nil {
		return Entry{}, fmt.Errorf("revert to block %d: %w", r.Number, err)
	}
	return entry, nil
}

// marshal leaves <, > and & as they are.
func marshal(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
