// Package delivery is what every function does with the deliveries of a stream before it computes anything from them.
package delivery

import (
	"encoding/json"
	"fmt"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// Entry is a delivery, opened.
type Entry struct {
	Delivery events.Delivery
	Content  events.Content
	Verdict  error // why there is no content
}

// Open opens deliveries.
func Open(batch []events.Delivery) []Entry {
	entries := make([]Entry, len(batch))
	for i, d := range batch {
		content, err := d.Open()
		entries[i] = Entry{Delivery: d, Content: content, Verdict: err}
	}
	return entries
}

// Remaining gives the entries of a batch after the mark. It fails as [watermark.Mark.Remaining] does.
func Remaining(mark watermark.Mark, entries []Entry) ([]Entry, error) {
	batch := make([]events.Delivery, len(entries))
	for i, e := range entries {
		batch[i] = e.Delivery
	}
	rest, err := mark.Remaining(batch)
	return entries[len(entries)-len(rest):], err
}

// MarkAfter gives the mark of a function that has applied the entries, of which there must be one.
func MarkAfter(entries []Entry) watermark.Mark {
	last := entries[len(entries)-1].Delivery
	return watermark.Mark{ID: last.ID, Hash: last.Hash}
}

// DeadLetter is an entry that cannot be read.
type DeadLetter struct {
	ID      events.ID
	Reason  string
	Content json.RawMessage // the data of its delivery
}

// Refuse gives the dead letter that an entry of a stream is, or false: it cannot be read, or one of its pairs belongs to
// another stream.
func (e Entry) Refuse(stream string, owners Owners) (letter DeadLetter, refused bool) {
	letter = DeadLetter{ID: e.Delivery.ID, Content: e.Delivery.Data}
	if e.Verdict != nil {
		letter.Reason = e.Verdict.Error()
		return letter, true
	}
	for _, event := range e.Content.Events {
		owner, known := owners[Pair{Chain: event.Chain, EventType: event.Type}]
		if known && owner != stream {
			letter.Reason = fmt.Sprintf("events %q of chain %q belong to stream %s", event.Type, event.Chain, owner)
			return letter, true
		}
	}
	return DeadLetter{}, false
}
