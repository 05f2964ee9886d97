package redisstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// Limit bounds a batch. A single entry larger than Bytes makes a batch of its own.
type Limit struct {
	Count int   // entries, at least 1
	Bytes int64 // of data, at least 1
}

// A delivery's attributes take about this much beside its data.
const attributeBytes = 768

// Read gives the deliveries after a mark, none where there are no more. It fails with [*LossError], and gives nothing,
// where the stream does not continue what was applied.
func (c *Client) Read(ctx context.Context, stream string, mark watermark.Mark, limit Limit) ([]events.Delivery, error) {
	v, err := c.view(ctx, stream, mark, limit)
	if err != nil {
		return nil, err
	}
	c.learn(stream, v, limit)
	predecessor := mark.ID
	var batch []events.Delivery
	var size int64
	for _, entry := range v.entries {
		d := events.NewDelivery(stream, entry, predecessor)
		if len(batch) == 0 {
			d.PredecessorHash = mark.Hash
		}
		size += int64(len(d.Data)) + attributeBytes
		if len(batch) > 0 && size > limit.Bytes {
			break
		}
		batch = append(batch, d)
		predecessor = entry.ID
	}
	return batch, nil
}

// Check tells by a [*LossError] that a stream does not continue what was applied, as far as its beginning and its next
// entry show.
func (c *Client) Check(ctx context.Context, stream string, mark watermark.Mark) error {
	_, err := c.view(ctx, stream, mark, Limit{Count: 1, Bytes: 1})
	return err
}

// Lost gives the reason for which a feed has to put its stream up again from the lowest of its functions' marks on, or
// from its first entry where there are no marks; empty where the stream is whole from there to its end, and no mark lies
// beyond that.
func (c *Client) Lost(ctx context.Context, stream string, marks []watermark.Mark) (reason string, err error) {
	info, err := c.Info(ctx, stream)
	if err != nil {
		return "", err
	}
	if info.Length > 0 && info.LastEntry != info.Last {
		return "its last entries are missing", nil
	}
	lowest := watermark.Lowest(marks)
	for _, mark := range append([]watermark.Mark{lowest}, marks...) {
		err := c.Check(ctx, stream, mark)
		if lost, ok := errors.AsType[*LossError](err); ok {
			return lost.Reason, nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", nil
}

// view reads the mark's own entry, those after it up to a limit, and what Redis knows of the stream, as of one moment.
func (c *Client) view(ctx context.Context, stream string, mark watermark.Mark, limit Limit) (view, error) {
	page := c.known(stream, limit).page(int64(limit.Count), limit.Bytes)
	v, err := c.look(ctx, stream, mark, page)
	if err == nil {
		err = c.readOn(ctx, stream, &v, page, limit)
	}
	if err != nil {
		return view{}, c.wrap("read "+stream, err)
	}
	v.entries = beforeMarker(mark, v.entries)
	if reason := check(mark, v); reason != "" {
		return view{}, &LossError{Stream: stream, Mark: mark, Reason: reason}
	}
	return v, nil
}

// look is the first page of a view, without the proof.
func (c *Client) look(ctx context.Context, stream string, mark watermark.Mark, count int64) (view, error) {
	v, err := c.atOnce(ctx, stream, mark.ID, count+1)
	if redis.IsExecAbortError(err) {
		v, err = c.unchanged(ctx, stream, mark.ID, count+1)
	}
	if err != nil {
		return view{}, err
	}
	if len(v.entries) > 0 && v.entries[0].ID == mark.ID {
		v.own, v.entries = &v.entries[0], v.entries[1:]
	}
	v.entries = v.entries[:min(count, int64(len(v.entries)))]
	return v, nil
}

// atOnce reads entries, and what Redis knows of the stream, in one MULTI.
func (c *Client) atOnce(ctx context.Context, stream string, from events.ID, count int64) (v view, err error) {
	var info *redis.XInfoStreamCmd
	var entries *redis.Cmd
	_, err = c.redis.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		info = pipe.XInfoStream(ctx, stream)
		entries = rangeCommand(ctx, pipe, stream, from.String(), newest, count)
		return nil
	})
	if err != nil && !isMissing(err) {
		return view{}, err
	}
	var errInfo, errEntries error
	v.info, errInfo = infoOf(info)
	v.newest = newestBytes(info)
	v.entries, errEntries = entriesOf(entries)
	return v, errors.Join(errInfo, errEntries)
}

// errChanged says that a stream was changed while it was read. The next read may succeed.
var errChanged = errors.New("the stream was changed meanwhile")

// unchanged is atOnce for a Redis without memory, which refuses MULTI: it reads what Redis knows before and after the
// entries. Functions must go on reading then, since only what they have applied can be trimmed.
func (c *Client) unchanged(ctx context.Context, stream string, from events.ID, count int64) (v view, err error) {
	var before, after *redis.XInfoStreamCmd
	var entries *redis.Cmd
	_, err = c.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		before = pipe.XInfoStream(ctx, stream)
		entries = rangeCommand(ctx, pipe, stream, from.String(), newest, count)
		after = pipe.XInfoStream(ctx, stream)
		return nil
	})
	if err != nil && !isMissing(err) {
		return view{}, err
	}
	var errInfo, errEntries error
	v.info, errInfo = infoOf(before)
	v.newest = newestBytes(before)
	v.entries, errEntries = entriesOf(entries)
	infoAfter, errAfter := infoOf(after)
	if err := errors.Join(errInfo, errEntries, errAfter); err != nil {
		return view{}, err
	}
	if v.info != infoAfter {
		return view{}, errChanged
	}
	return v, nil
}

// longestBlock is how long a wait holds a connection: a command under way cannot be interrupted.
const longestBlock = time.Second

// Wait returns when a stream has entries after an id, or after a timeout of at most a second, whichever is first; it does
// not tell which. An error means that Redis cannot be asked, or that ctx has ended.
func (c *Client) Wait(ctx context.Context, stream string, after events.ID, timeout time.Duration) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("wait for %s: %w", stream, err)
	}
	err := c.redis.XRead(ctx, &redis.XReadArgs{
		Streams: []string{stream, after.String()},
		Count:   1,
		Block:   max(time.Millisecond, min(timeout, longestBlock)), // Redis takes 0 for ever
	}).Err()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return c.wrap("wait for "+stream, err)
}
