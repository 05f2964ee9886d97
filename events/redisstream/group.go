package redisstream

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/events"
)

// Group is a consumer group, which mirrors the watermark of the function that it is named after.
type Group struct {
	Name          string
	LastDelivered events.ID // where the function stood when it was mirrored last
	EntriesRead   int64     // how many entries lie up to there
	Lag           int64     // how many entries lie after it; -1 where Redis cannot tell
}

// Groups reads the consumer groups of a stream. A stream that does not exist has none.
func (c *Client) Groups(ctx context.Context, stream string) ([]Group, error) {
	reply, err := c.redis.XInfoGroups(ctx, stream).Result()
	if err != nil {
		if isMissing(err) {
			return nil, nil
		}
		return nil, c.wrap("read the groups of "+stream, err)
	}
	groups := make([]Group, len(reply))
	for i, g := range reply {
		id, err := events.ParseID(g.LastDeliveredID)
		if err != nil {
			return nil, c.wrap("read the groups of "+stream, err)
		}
		groups[i] = Group{Name: g.Name, LastDelivered: id, EntriesRead: g.EntriesRead, Lag: g.Lag}
	}
	return groups, nil
}

// Mirror shows in a consumer group where a function stands, for whatever reads XINFO GROUPS: people, KEDA, a standby
// source. Nobody reads through the group. A stream that does not exist is no error.
func (c *Client) Mirror(ctx context.Context, stream, group string, id events.ID) error {
	info, err := c.Info(ctx, stream)
	if err != nil || !info.Exists {
		return err
	}
	read := info.EntriesAdded - info.Behind(id)
	err = c.redis.Do(ctx, "XGROUP", "SETID", stream, group, id.String(), "ENTRIESREAD", read).Err()
	if redis.HasErrorPrefix(err, "NOGROUP") {
		err = c.redis.Do(ctx, "XGROUP", "CREATE", stream, group, id.String(), "ENTRIESREAD", read).Err()
	}
	return c.wrap("mirror "+group+" on "+stream, err)
}
