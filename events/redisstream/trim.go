package redisstream

import (
	"context"

	"github.com/chainmetrics/chainmetrics/events"
)

const (
	// trimStep is how many entries are removed at once, between which Redis serves others.
	trimStep = 10_000
	// trimExactly is how many are removed at once where Redis has to look at each of them.
	trimExactly = 100
)

// Trim removes the entries of a stream below an id, the oldest first, as long as more than keep are left. It gives how many. A
// stream that ends below the id has lost entries: it is left to whoever puts it up again.
func (c *Client) Trim(ctx context.Context, stream string, below events.ID, keep int64) (removed int64, err error) {
	info, err := c.Info(ctx, stream)
	if err != nil || info.LastEntry.Compare(below) < 0 {
		return 0, err
	}
	room := info.Length - keep
	for room > 0 { // whole nodes of the stream, which costs least
		n, err := c.redis.XTrimMinIDApprox(ctx, stream, below.String(), min(room, trimStep)).Result()
		if err != nil {
			return removed, c.wrap("trim "+stream, err)
		}
		if n == 0 {
			break
		}
		removed, room = removed+n, room-n
	}
	for room > 0 { // those of the node in which the id lies, or of which some are to be kept
		left, err := entriesOf(rangeCommand(ctx, c.redis, stream, oldest, "("+below.String(), min(room, trimExactly)))
		if err != nil {
			return removed, c.wrap("trim "+stream, err)
		}
		if len(left) == 0 {
			break
		}
		n, err := c.redis.XTrimMinID(ctx, stream, left[len(left)-1].ID.Next().String()).Result()
		if err != nil {
			return removed, c.wrap("trim "+stream, err)
		}
		removed, room = removed+n, room-int64(len(left))
	}
	return removed, nil
}

// Lacks implements archive.Buffer.
func (c *Client) Lacks(ctx context.Context, stream string, id events.ID) (bool, error) {
	info, err := c.Info(ctx, stream)
	return info.Lacks(id), err
}
