package redisstream

import (
	"context"
	_ "embed" // the script
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

//go:embed mark.lua
var markSource string

var markScript = redis.NewScript(markSource)

// Mend has an open stream that does not continue a mark go on from there: who comes to the mark that it gives can read on. That
// names the losses after it, and has the hash of what the stream has in its place, which is a marker where the stream has
// nothing of that id or a greater one. Has tells whether it has anything there. Nothing can be added up to the mark from then
// on, and who stands at 0-0, or reaches a marker from below, finds a loss. The stream is announced, since Redis may have lost that
// too. Again is the same as once.
func (c *Client) Mend(ctx context.Context, stream string, at watermark.Mark) (mended watermark.Mark, has bool, err error) {
	if err := c.Announce(ctx, stream); err != nil {
		return at, false, err
	}
	args := []any{at.ID.String()}
	for _, f := range events.NewMarkerEntry(at.ID).Fields {
		args = append(args, f.Name, f.Value)
	}
	if err := markScript.Run(ctx, c.redis, []string{stream}, args...).Err(); err != nil && !errors.Is(err, redis.Nil) {
		return at, false, c.wrap("mend "+stream, err)
	}
	v, err := c.look(ctx, stream, at, 1)
	if err != nil {
		return at, false, c.wrap("mend "+stream, err)
	}
	mended = watermark.Mark{ID: at.ID, Hash: at.Hash}
	if v.own != nil {
		mended.Hash = v.own.ContentHash()
	}
	found, err := c.scan(ctx, stream, mended)
	if err != nil {
		return at, false, err
	}
	mended.Holes = found.holes
	next := found.info.Last.Next() // nothing up to there follows a loss at the end
	if found.open {
		mended.Holes = append(mended.Holes, found.hole(found.last, next))
	}
	if len(mended.Holes) == 0 { // what is in the mark's place lets everybody go on, but something was lost
		if len(v.entries) > 0 {
			next = v.entries[0].ID
		}
		mended.Holes = []watermark.Hole{found.hole(at.ID, next)}
	}
	return mended, v.own != nil, nil
}

// Loss gives the reason for which a stream does not continue what was applied, as [Client.Check] finds it; empty where it does.
func (c *Client) Loss(ctx context.Context, stream string, mark watermark.Mark) (reason string, err error) {
	err = c.Check(ctx, stream, mark)
	if lost, ok := errors.AsType[*LossError](err); ok {
		return lost.Reason, nil
	}
	return "", err
}

// Back reads up to count entries below an id, the last one first.
func (c *Client) Back(ctx context.Context, stream string, below events.ID, count int64) ([]events.Entry, error) {
	entries, err := entriesOf(c.redis.Do(ctx, "XREVRANGE", stream, "("+below.String(), oldest, "COUNT", count))
	return entries, c.wrap("read "+stream, err)
}

// After gives the first entry of a stream behind an id, 0-0 for none, and whether the stream has one of the id.
func (c *Client) After(ctx context.Context, stream string, id events.ID) (next events.ID, has bool, err error) {
	v, err := c.look(ctx, stream, watermark.Mark{ID: id}, 1)
	if err == nil && len(v.entries) > 0 {
		next = v.entries[0].ID
	}
	return next, v.own != nil, c.wrap("read "+stream, err)
}
