package redisstream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/events"
)

// Info is what Redis knows of a stream.
type Info struct {
	Exists       bool
	Length       int64     // entries that it holds
	First        events.ID // the first entry that it holds
	LastEntry    events.ID // the last entry that it holds
	Last         events.ID // the greatest id that it ever held: where it ends
	MaxDeleted   events.ID // the greatest id that was deleted singly
	EntriesAdded int64     // entries that it ever held
}

// Info reads what Redis knows of a stream. A stream that does not exist is no error.
func (c *Client) Info(ctx context.Context, stream string) (Info, error) {
	info, err := infoOf(c.redis.XInfoStream(ctx, stream))
	return info, c.wrap("look at "+stream, err)
}

func infoOf(cmd *redis.XInfoStreamCmd) (Info, error) {
	reply, err := cmd.Result()
	if err != nil {
		if isMissing(err) {
			return Info{}, nil
		}
		return Info{}, err
	}
	info := Info{Exists: true, Length: reply.Length, EntriesAdded: reply.EntriesAdded}
	var wrong []error
	for id, text := range map[*events.ID]string{
		&info.First: reply.FirstEntry.ID, &info.LastEntry: reply.LastEntry.ID,
		&info.Last: reply.LastGeneratedID, &info.MaxDeleted: reply.MaxDeletedEntryID,
	} {
		if text == "" && reply.Length == 0 {
			continue
		}
		var err error
		*id, err = events.ParseID(text)
		wrong = append(wrong, err)
	}
	return info, errors.Join(wrong...)
}

func isMissing(err error) bool {
	return strings.HasPrefix(err.Error(), "ERR no such key")
}

// Removed is how many entries the stream has lost, by trimming and by deletion.
func (i Info) Removed() int64 { return i.EntriesAdded - i.Length }

// Lacks tells whether the stream goes on without the entry of an id: it begins behind that one or, where the id is 0-0, has
// lost entries. What has gone may have been trimmed once it was archived.
func (i Info) Lacks(id events.ID) bool {
	switch {
	case i.Length == 0:
		return false
	case id.IsZero():
		return i.Removed() != 0
	}
	return i.First.Compare(id) > 0
}

// Behind is how many entries lie after id. It is exact at both ends, and in a feed's stream of one epoch without gaps;
// elsewhere it is estimated by the place of id between the first and the last entry.
func (i Info) Behind(id events.ID) int64 {
	switch {
	case i.Length == 0 || id.Compare(i.LastEntry) >= 0:
		return 0
	case id.Compare(i.First) < 0:
		return i.Length
	}
	if i.First.Major == i.LastEntry.Major {
		return share(i.Length-1, i.LastEntry.Minor-id.Minor, i.LastEntry.Minor-i.First.Minor)
	}
	return share(i.Length-1, i.LastEntry.Major-id.Major, i.LastEntry.Major-i.First.Major)
}

// share gives n × part / whole, rounded, at least 1.
func share(n int64, part, whole uint64) int64 {
	return max(1, int64(math.Round(float64(n)*(float64(part)/float64(whole)))))
}

// Range reads up to count entries with ids from through to, both included. As to, the zero ID is the end of the stream.
func (c *Client) Range(ctx context.Context, stream string, from, to events.ID, count int64) ([]events.Entry, error) {
	end := newest
	if !to.IsZero() {
		end = to.String()
	}
	entries, err := entriesOf(rangeCommand(ctx, c.redis, stream, from.String(), end, count))
	return entries, c.wrap("read "+stream, err)
}

// Next reads the first entry after an id, where there is one.
func (c *Client) Next(ctx context.Context, stream string, id events.ID) (entry events.Entry, ok bool, err error) {
	entries, err := entriesOf(rangeCommand(ctx, c.redis, stream, after(id), newest, 1))
	if err != nil || len(entries) == 0 {
		return events.Entry{}, false, c.wrap("read "+stream, err)
	}
	return entries[0], true, nil
}

// oldest and newest are the ends of any range.
const (
	oldest = "-"
	newest = "+"
)

// after begins a range right after an id.
func after(id events.ID) string { return "(" + id.String() }

// doer is what pipelines and clients have in common.
type doer interface {
	Do(ctx context.Context, args ...any) *redis.Cmd
}

// rangeCommand is XRANGE as it comes: the reply type of go-redis loses the order of fields, and repeated names.
func rangeCommand(ctx context.Context, via doer, stream, from, to string, count int64) *redis.Cmd {
	return via.Do(ctx, "XRANGE", stream, from, to, "COUNT", count)
}

func entriesOf(cmd *redis.Cmd) ([]events.Entry, error) {
	reply, err := cmd.Slice()
	if err != nil {
		return nil, err
	}
	entries := make([]events.Entry, len(reply))
	for i, item := range reply {
		if entries[i], err = entryOf(item); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

func entryOf(item any) (events.Entry, error) {
	pair, _ := item.([]any)
	if len(pair) != 2 {
		return events.Entry{}, errors.New("unexpected answer: no entry")
	}
	text, _ := pair[0].(string)
	id, err := events.ParseID(text)
	if err != nil {
		return events.Entry{}, fmt.Errorf("unexpected answer: %w", err)
	}
	texts, _ := pair[1].([]any)
	if len(texts)%2 != 0 {
		return events.Entry{}, errors.New("unexpected answer: a field without value")
	}
	entry := events.Entry{ID: id, Fields: make([]events.Field, len(texts)/2)}
	for i := range entry.Fields {
		name, isText := texts[2*i].(string)
		value, isTextToo := texts[2*i+1].(string)
		if !isText || !isTextToo {
			return events.Entry{}, errors.New("unexpected answer: a field that is no text")
		}
		entry.Fields[i] = events.Field{Name: name, Value: value}
	}
	return entry, nil
}
