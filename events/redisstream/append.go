package redisstream

import (
	"context"
	_ "embed" // the script
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/span"
)

//go:embed append.lua
var appendSource string

var appendScript = redis.NewScript(appendSource)

// MaxAppendFields is how many fields an entry may have that is appended: less than what Lua can unpack into one command.
const MaxAppendFields = 3000

// Append adds entries, ascending, to a stream that must end at after, with the entry of that id; 0-0 is the end of a stream
// that does not exist. All of them are added, or none: it fails with [*FencedError] where the stream ends elsewhere. After
// any other error it is not known whether they were added; [Client.Info] tells. A call should stay below 64 MiB, for which
// Redis stands still.
func (c *Client) Append(ctx context.Context, stream string, after events.ID, entries []events.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	return c.write(ctx, stream, fence{last: after, newest: after}, position{}, entries)
}

// Replace deletes a stream that must be as it was seen and adds entries, ascending, in its place: all of that, or nothing.
// The stream is then one whose first entries, so many as are named by before, were trimmed: who has not applied these finds
// a loss. It fails as [Client.Append] does.
//
// Where the stream is to be put up again in several steps, end is the id up to which that has to go, otherwise 0-0. Until
// [Client.Refill] has added the entry of that id, [Client.Lost] tells that the last entries are missing, and nothing can be
// appended.
func (c *Client) Replace(
	ctx context.Context, stream string, seen Info, before uint64, end events.ID, entries []events.Entry,
) error {
	if len(entries) == 0 {
		return fmt.Errorf("replace %s: no entries", stream)
	}
	is := fence{last: seen.Last, newest: seen.LastEntry, length: strconv.FormatInt(seen.Length, 10)}
	return c.write(ctx, stream, is, position{before: strconv.FormatUint(before, 10), end: end}, entries)
}

// Refill goes on with what Replace has begun, with entries after the last one that was added. It fails as [Client.Append]
// does.
func (c *Client) Refill(ctx context.Context, stream string, after, end events.ID, entries []events.Entry) error {
	return c.write(ctx, stream, fence{last: end, newest: after}, position{end: end}, entries)
}

// fence is what a stream must be like to be written to.
type fence struct {
	last, newest events.ID // where it ends, and its last entry; that may be missing
	length       string    // empty: any
}

// position is what a stream counts and where it ends, beside the entries that are added.
type position struct {
	before string    // entries that it has held before these, which replace those that it has; empty: these are added
	end    events.ID // where it is to end, zero: with its last entry
}

// write is a span of a trace, which the entries name that name no other.
func (c *Client) write(ctx context.Context, stream string, is fence, becomes position, entries []events.Entry) (err error) {
	mode, end, previous := "append to", "", is.newest
	switch {
	case becomes.before != "":
		mode, previous = "replace", events.ID{}
	case !becomes.end.IsZero():
		mode = "refill"
	}
	if !becomes.end.IsZero() {
		end = becomes.end.String()
	}
	ctx, appending := span.Start(ctx, mode+" "+stream, trace.WithSpanKind(trace.SpanKindProducer))
	defer func() { appending.Done(err) }()
	appending.Set(func() []attribute.KeyValue {
		return []attribute.KeyValue{
			attribute.String("messaging.system", "redis"), attribute.String("messaging.operation.name", "append"),
			attribute.String("messaging.operation.type", "send"), attribute.String("messaging.destination.name", stream),
			attribute.Int("messaging.batch.message_count", len(entries)),
			attribute.String("chainmetrics.entries.first", entries[0].ID.String()),
			attribute.String("chainmetrics.entries.last", entries[len(entries)-1].ID.String()),
		}
	})
	traced := events.TraceFields(ctx)
	args := []any{is.last.String(), is.newest.String(), is.length, becomes.before, end}
	for _, entry := range entries {
		switch {
		case entry.ID.Compare(previous) <= 0:
			return fmt.Errorf("%s %s: entry %s does not lie after %s", mode, stream, entry.ID, previous)
		case len(entry.Fields) == 0:
			return fmt.Errorf("%s %s: entry %s has no fields", mode, stream, entry.ID)
		case len(entry.Fields) > MaxAppendFields:
			return fmt.Errorf("%s %s: entry %s has %d fields, at most %d can be appended", mode, stream, entry.ID, len(entry.Fields), MaxAppendFields)
		}
		previous = entry.ID
		more := traced
		if len(more) > 0 && entry.IsTraced() {
			more = nil
		}
		args = append(args, entry.ID.String(), 2*(len(entry.Fields)+len(more)))
		for _, f := range entry.Fields {
			args = append(args, f.Name, f.Value)
		}
		for _, f := range more {
			args = append(args, f.Name, f.Value)
		}
	}
	if end != "" && becomes.end.Compare(previous) < 0 {
		return fmt.Errorf("%s %s: entry %s lies beyond the end %s", mode, stream, previous, becomes.end)
	}
	text, err := appendScript.Run(ctx, c.redis, []string{stream}, args...).Text()
	if err != nil {
		return c.wrap(mode+" "+stream, err)
	}
	if text == "" {
		return nil
	}
	found, err := events.ParseID(text)
	if err != nil {
		return fmt.Errorf("%s %s: %w", mode, stream, errors.Join(errors.New("unexpected answer"), err))
	}
	return &FencedError{Stream: stream, After: is.last, Last: found}
}
