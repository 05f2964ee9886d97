package redisstream

import (
	"fmt"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// LossError says that a stream does not continue what a function has applied. Nothing of it may be delivered until its
// feed has replaced it or a person has accepted the loss.
type LossError struct {
	Stream string
	Mark   watermark.Mark // where the reader stands
	Reason string         // what was found
}

// Error names the stream, where its reader stands and what was found.
func (e *LossError) Error() string {
	return fmt.Sprintf("stream %s does not go on from %s: %s", e.Stream, e.Mark.ID, e.Reason)
}

// view is what a read saw, at one moment.
type view struct {
	info    Info
	newest  int64          // bytes of the last entry of the stream
	own     *events.Entry  // the mark's own entry, where it was asked for
	entries []events.Entry // those after it
}

// accepted gives the entry that may follow id in spite of a loss.
func accepted(mark watermark.Mark, id events.ID) (next events.ID, ok bool) {
	for _, hole := range mark.Holes {
		if hole.After == id {
			return hole.Next, true
		}
	}
	return events.ID{}, false
}

// check gives the reason for which what was seen does not continue the mark, empty where it does.
func check(mark watermark.Mark, v view) string {
	if reason := checkBeginning(mark, v); reason != "" || !v.info.Exists {
		return reason
	}
	if reason := checkDeleted(mark, v.info); reason != "" {
		return reason
	}
	return checkLinks(mark, v)
}

// checkBeginning looks at the place where the mark stands. An accepted hole matters only where something is missing.
func checkBeginning(mark watermark.Mark, v view) string {
	var reason string
	if mark.ID.IsZero() {
		reason = checkStart(v.info)
	} else {
		reason = checkOwn(mark, v)
	}
	if next, isHole := accepted(mark, mark.ID); reason != "" && v.own == nil && isHole {
		return checkHole(v, next)
	}
	return reason
}

func checkHole(v view, next events.ID) string {
	switch {
	case !v.info.Exists:
		return "the stream does not exist"
	case len(v.entries) == 0 || v.entries[0].ID != next:
		return fmt.Sprintf("entry %s, which was accepted as the next one, is missing", next)
	}
	return ""
}

func checkStart(info Info) string {
	if removed := info.Removed(); removed != 0 {
		return fmt.Sprintf("%d of the %d entries that it ever held were removed before any was applied", removed, info.EntriesAdded)
	}
	return ""
}

func checkOwn(mark watermark.Mark, v view) string {
	switch {
	case !v.info.Exists:
		return "the stream does not exist"
	case v.info.Last.Compare(mark.ID) < 0:
		return fmt.Sprintf("it was rolled back: it ends at %s", v.info.Last)
	case v.own == nil && v.info.Length == 0:
		return "all its entries were removed"
	case v.own == nil && v.info.First.Compare(mark.ID) > 0:
		return fmt.Sprintf("its beginning was removed: it begins at %s", v.info.First)
	case v.own == nil:
		return fmt.Sprintf("entry %s was deleted", mark.ID)
	case v.own.ContentHash() != mark.Hash:
		return fmt.Sprintf("entry %s has another content than was applied", mark.ID)
	}
	return ""
}

// checkDeleted looks at what was deleted behind the mark.
func checkDeleted(mark watermark.Mark, info Info) string {
	if info.MaxDeleted.Compare(mark.ID) <= 0 {
		return ""
	}
	hole, ok := around(mark, info.MaxDeleted)
	if !ok {
		return fmt.Sprintf("entry %s was deleted before it was applied", info.MaxDeleted)
	}
	if n := removedSince(hole, info); n > 0 {
		return fmt.Sprintf("more entries were removed, %d since the loss after %s was accepted", n, hole.After)
	}
	return ""
}

// around gives the accepted hole that an id lies in, of several the one that was accepted last.
func around(mark watermark.Mark, id events.ID) (last watermark.Hole, ok bool) {
	for _, hole := range mark.Holes {
		if hole.After.Compare(id) < 0 && id.Compare(hole.Next) < 0 && hole.Removed >= last.Removed {
			last, ok = hole, true
		}
	}
	return last, ok
}

// removedSince counts the entries that have gone since a hole was accepted: below the greatest deleted id, which lies in
// the hole, their number is all that Redis tells. Where the stream begins later than it did then, it was trimmed to what
// was applied, which explains the number. A feed's parent hashes tell of a loss in that case too, other streams do not.
func removedSince(hole watermark.Hole, info Info) int64 {
	if info.First.Compare(hole.First) > 0 {
		return 0
	}
	return max(0, info.Removed()-hole.Removed)
}

// checkLinks follows the parent hashes of a feed's blocks, and looks for markers.
func checkLinks(mark watermark.Mark, v view) string {
	previous, last := v.own, mark.ID
	for i := range v.entries {
		entry := &v.entries[i]
		if reason := link(previous, entry); reason != "" {
			if next, ok := accepted(mark, last); !ok || next != entry.ID {
				return reason
			}
		}
		previous, last = entry, entry.ID
	}
	return ""
}

// beforeMarker gives the entries before a marker that may not follow them, all where that is the first one: it is a loss for who
// stands right before it, where [Client.Check] finds it. So a stream that has a marker from a producer stops only where it is healed.
func beforeMarker(mark watermark.Mark, entries []events.Entry) []events.Entry {
	for i := 1; i < len(entries); i++ {
		next, ok := accepted(mark, entries[i-1].ID)
		if entries[i].IsMarker() && (!ok || next != entries[i].ID) {
			return entries[:i]
		}
	}
	return entries
}

// link gives the reason for which an entry does not follow another one. Entries that name no block follow any.
func link(previous, entry *events.Entry) string {
	if entry.IsMarker() {
		return fmt.Sprintf("entries before %s were lost", entry.ID)
	}
	if previous == nil {
		return ""
	}
	tip, _ := previous.Link()
	_, parent := entry.Link()
	switch {
	case tip != "" && parent == "" && !entry.OfFeed() && previous.ID.Major != entry.ID.Major:
		return fmt.Sprintf("entry %s was added by another producer than the feed", entry.ID)
	case tip == "" || parent == "":
		return ""
	case previous.ID.Major != entry.ID.Major:
		return fmt.Sprintf("the revert entry between %s and %s is missing", previous.ID, entry.ID)
	case tip != parent:
		return fmt.Sprintf("the block of %s is not the child of the block of %s", entry.ID, previous.ID)
	}
	return ""
}
