package events

import "slices"

// kindMarker is the FieldKind of a marker.
const kindMarker = "marker"

// NewMarkerEntry makes an entry without content, which stands in the place of one that a stream has lost. What follows it was
// appended after the loss. It is delivered as [TypeRaw], and holds neither events nor anything to be told of.
func NewMarkerEntry(id ID) Entry {
	return Entry{ID: id, Fields: []Field{{FieldKind, kindMarker}}}
}

// IsMarker tells whether the entry is a marker.
func (e Entry) IsMarker() bool {
	kind, _ := e.only(FieldKind)
	return kind == kindMarker && !slices.ContainsFunc(e.Fields, func(f Field) bool { return !isMetadata(f.Name) })
}
