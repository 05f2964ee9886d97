package redisstream

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/chainmetrics/chainmetrics/events"
)

// StreamsKey is the Redis set that names the streams.
const StreamsKey = "chainmetrics:streams"

// Client speaks to one Redis, whichever kind it is. It is safe for concurrent use. Every command and script touches one
// key, so that a Cluster can serve it.
type Client struct {
	redis   redis.UniversalClient
	secrets []string

	mu    sync.Mutex
	sizes map[string]sizes // of recent entries, by stream
}

var silence sync.Once

// Open makes a client. It does not connect yet: a Redis that is down now may be up later. It fails where the
// configuration is wrong.
func Open(_ context.Context, cfg Config) (*Client, error) {
	o, err := cfg.options()
	if err != nil {
		return nil, fmt.Errorf("configure redis: %w", err)
	}
	silence.Do(logging.Disable) // go-redis writes to standard error what it returns as well
	c := &Client{secrets: o.secrets, sizes: map[string]sizes{}}
	switch {
	case o.sentinel != nil:
		c.redis = redis.NewFailoverClient(o.sentinel)
	case o.cluster != nil:
		c.redis = redis.NewClusterClient(o.cluster)
	default:
		c.redis = redis.NewClient(o.standalone)
	}
	return c, nil
}

// Close ends all connections; commands under way fail.
func (c *Client) Close() error {
	return c.wrap("close redis", c.redis.Close())
}

// Ping tells whether Redis answers.
func (c *Client) Ping(ctx context.Context) error {
	return c.wrap("ping redis", c.redis.Ping(ctx).Err())
}

// Streams gives the names of the announced streams, sorted.
func (c *Client) Streams(ctx context.Context) ([]string, error) {
	names, err := c.redis.SMembers(ctx, StreamsKey).Result()
	if err != nil {
		return nil, c.wrap("read "+StreamsKey, err)
	}
	slices.Sort(names)
	return names, nil
}

// Announce adds a stream to those that sources read.
func (c *Client) Announce(ctx context.Context, stream string) error {
	return c.wrap("announce "+stream, c.redis.SAdd(ctx, StreamsKey, stream).Err())
}

// wrap says what was being done, without secrets.
func (c *Client) wrap(action string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", action, redact(err, c.secrets...))
}

// FencedError says that a stream does not end where the appender believed: another one has appended, or entries were
// lost. Nothing was written.
type FencedError struct {
	Stream string
	After  events.ID // where the appender believed the stream to end
	Last   events.ID // where it ends
}

// Error names both ends.
func (e *FencedError) Error() string {
	return fmt.Sprintf("append to %s after %s: it ends at %s", e.Stream, e.After, e.Last)
}
