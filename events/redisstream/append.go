package redisstream

import (
	"context"
	_ "embed" // the script
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/events"
)

//go:embed append.lua
var appendSource string

var appendScript = redis.NewScript(appendSource)

// maxAppendFields is less than what Lua can unpack into one command.
const maxAppendFields = 3000

// Append adds entries, ascending, to a stream that must end at after; 0-0 is the end of a stream that does not exist.
// All of them are added, or none: it fails with [*FencedError] where the stream ends elsewhere. After any other error it
// is not known whether they were added; [Client.Info] tells. A call should stay below 64 MiB, for which Redis stands
// still.
func (c *Client) Append(ctx context.Context, stream string, after events.ID, entries []events.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	if entries[0].ID.Compare(after) <= 0 {
		return fmt.Errorf("append to %s: entry %s does not lie after %s", stream, entries[0].ID, after)
	}
	return c.write(ctx, stream, after, "append", "", entries)
}

// Replace deletes a stream that must end at last and adds entries, ascending, in its place: all of that, or nothing. The
// stream is then one whose first entries, so many as are named by before, were trimmed: who has not applied these finds a
// loss. It fails as [Client.Append] does.
func (c *Client) Replace(ctx context.Context, stream string, last events.ID, before uint64, entries []events.Entry) error {
	if len(entries) == 0 {
		return fmt.Errorf("replace %s: no entries", stream)
	}
	return c.write(ctx, stream, last, "replace", strconv.FormatUint(before, 10), entries)
}

func (c *Client) write(
	ctx context.Context, stream string, last events.ID, mode, before string, entries []events.Entry,
) error {
	args := []any{last.String(), before}
	var previous events.ID
	for _, entry := range entries {
		switch {
		case entry.ID.Compare(previous) <= 0:
			return fmt.Errorf("%s %s: entry %s does not lie after %s", mode, stream, entry.ID, previous)
		case len(entry.Fields) == 0:
			return fmt.Errorf("%s %s: entry %s has no fields", mode, stream, entry.ID)
		case len(entry.Fields) > maxAppendFields:
			return fmt.Errorf("%s %s: entry %s has %d fields, at most %d can be appended", mode, stream, entry.ID, len(entry.Fields), maxAppendFields)
		}
		previous = entry.ID
		args = append(args, entry.ID.String(), 2*len(entry.Fields))
		for _, f := range entry.Fields {
			args = append(args, f.Name, f.Value)
		}
	}
	text, err := appendScript.Run(ctx, c.redis, []string{stream}, args...).Text()
	if err != nil {
		return c.wrap(mode+" "+stream, err)
	}
	if text == "" {
		return nil
	}
	end, err := events.ParseID(text)
	if err != nil {
		return fmt.Errorf("%s %s: %w", mode, stream, errors.Join(errors.New("unexpected answer"), err))
	}
	return &FencedError{Stream: stream, After: last, Last: end}
}
