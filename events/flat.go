package events

import (
	"strconv"
	"time"
)

// NewFlatEntry makes the entry of one event of a file: its type, chain and chain time, and the other fields. The time of
// the append stands in the entry, since the id may be a height. It fails with the [*Unreadable] verdict that a function
// would come to.
func NewFlatEntry(id ID, eventType, chain string, at time.Time, fields []Field, appended time.Time) (Entry, error) {
	entry := Entry{ID: id, Fields: make([]Field, 0, 4+len(fields))}
	entry.Fields = append(entry.Fields,
		Field{FieldAppended, strconv.FormatInt(appended.UnixMilli(), 10)},
		Field{FieldType, eventType},
		Field{FieldChain, chain},
		Field{FieldTimestamp, at.UTC().Truncate(time.Microsecond).Format(time.RFC3339Nano)})
	entry.Fields = append(entry.Fields, fields...)
	if _, err := read("", entry, ID{}); err != nil {
		return Entry{}, err
	}
	return entry, nil
}
