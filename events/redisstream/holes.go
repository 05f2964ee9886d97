package redisstream

import (
	"context"
	"fmt"

	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// scanCount is how many entries a scan reads at once.
const scanCount = 64

// Holes reads a stream from a mark to its end and gives the losses that, once accepted, let a reader go on, in stream
// order, without those that the mark names already; none where the stream is whole. Of the entries that were deleted from a
// stream without parent hashes it finds the last one only; what Removed counts beyond that lay anywhere. It fails where
// nothing lies beyond a loss yet, since a hole names the entry that may follow.
func (c *Client) Holes(ctx context.Context, stream string, mark watermark.Mark) ([]watermark.Hole, error) {
	v, err := c.look(ctx, stream, mark, 1)
	if err != nil {
		return nil, c.wrap("read "+stream, err)
	}
	broken := checkBeginning(mark, v) != ""
	from := after(mark.ID)
	var holes []watermark.Hole
	last, previous := mark.ID, v.own
	for {
		entries, err := entriesOf(rangeCommand(ctx, c.redis, stream, from, newest, scanCount))
		if err != nil {
			return nil, c.wrap("read "+stream, err)
		}
		for i := range entries {
			entry := &entries[i]
			deleted := v.info.MaxDeleted.Compare(last) > 0 && v.info.MaxDeleted.Compare(entry.ID) < 0
			next, isHole := accepted(mark, last)
			known := isHole && next == entry.ID
			again := deleted && checkDeleted(mark, v.info) != ""
			if broken || again || !known && link(previous, entry) != "" {
				holes = append(holes, watermark.Hole{
					After: last, Next: entry.ID, Removed: v.info.Removed(), First: v.info.First,
				})
			}
			last, previous, broken = entry.ID, entry, false
		}
		if len(entries) < scanCount {
			break
		}
		from = after(last)
	}
	if broken || v.info.MaxDeleted.Compare(last) > 0 {
		return nil, fmt.Errorf("find the losses of %s: nothing lies beyond them yet, the last entry is %s", stream, last)
	}
	return holes, nil
}
