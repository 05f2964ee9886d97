package redisstream

import (
	"context"
	"fmt"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// scanCount is how many entries a scan reads at once.
const scanCount = 64

// scanned is what a scan of a stream from a mark to its end has found.
type scanned struct {
	holes []watermark.Hole
	open  bool      // a loss lies after the last entry
	last  events.ID // the last entry, or the mark
	info  Info
}

func (s scanned) hole(after, next events.ID) watermark.Hole {
	return watermark.Hole{After: after, Next: next, Removed: s.info.Removed(), First: s.info.First}
}

// Holes reads a stream from a mark to its end and gives the losses that, once accepted, let a reader go on, in stream
// order, without those that the mark names already; none where the stream is whole. Of the entries that were deleted from a
// stream without parent hashes it finds the last one only; what Removed counts beyond that lay anywhere. It fails where
// nothing lies beyond a loss yet, since a hole names the entry that may follow.
func (c *Client) Holes(ctx context.Context, stream string, mark watermark.Mark) ([]watermark.Hole, error) {
	found, err := c.scan(ctx, stream, mark)
	if err == nil && found.open {
		err = fmt.Errorf("find the losses of %s: nothing lies beyond them yet, the last entry is %s", stream, found.last)
	}
	if err != nil {
		return nil, err
	}
	return found.holes, nil
}

// scan finds the losses of a stream from a mark to its end.
func (c *Client) scan(ctx context.Context, stream string, mark watermark.Mark) (found scanned, err error) {
	v, err := c.look(ctx, stream, mark, 1)
	if err != nil {
		return found, c.wrap("read "+stream, err)
	}
	found.info = v.info
	broken := checkBeginning(mark, v) != ""
	from := after(mark.ID)
	last, previous := mark.ID, v.own
	for {
		entries, err := entriesOf(rangeCommand(ctx, c.redis, stream, from, newest, scanCount))
		if err != nil {
			return found, c.wrap("read "+stream, err)
		}
		for i := range entries {
			entry := &entries[i]
			deleted := v.info.MaxDeleted.Compare(last) > 0 && v.info.MaxDeleted.Compare(entry.ID) < 0
			next, isHole := accepted(mark, last)
			known := isHole && next == entry.ID
			again := deleted && checkDeleted(mark, v.info) != ""
			if broken || again || !known && link(previous, entry) != "" {
				found.holes = append(found.holes, found.hole(last, entry.ID))
			}
			last, previous, broken = entry.ID, entry, false
		}
		if len(entries) < scanCount {
			break
		}
		from = after(last)
	}
	found.last, found.open = last, broken || v.info.MaxDeleted.Compare(last) > 0
	return found, nil
}
