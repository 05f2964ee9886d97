package redisstream

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// Bytes tells how much memory a stream takes, by Redis's own estimate; 0 where it does not exist.
func (c *Client) Bytes(ctx context.Context, stream string) (int64, error) {
	bytes, err := c.redis.MemoryUsage(ctx, stream).Result()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	return bytes, c.wrap("measure "+stream, err)
}
