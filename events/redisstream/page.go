package redisstream

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/events"
)

const (
	// cautious is how many entries are read at once where their size is unknown, or where one may be much larger than
	// those before it.
	cautious = 16
	// excess is how many times larger than others an entry may be without such caution.
	excess = 4
)

// sizes are bytes of the entries of a stream, about as they are delivered.
type sizes struct {
	average int64 // of those that were read last
	largest int64 // of these and the newest one: what may come
}

// page gives how many entries to read at once, such that they likely stay within so many bytes. Redis counts entries
// only: where they differ much, it is few, since all of the next ones may be as the largest.
func (s sizes) page(count, bytes int64) int64 {
	most := max(cautious, excess*bytes/max(1, s.largest))
	return max(1, min(count, bytes/max(1, s.average), most))
}

// sizesOf measures entries, at least one, and takes account of the newest one, which need not be among them.
func sizesOf(entries []events.Entry, newest int64) (s sizes, sum int64) {
	s.largest = newest
	for _, entry := range entries {
		size := int64(attributeBytes)
		for _, f := range entry.Fields {
			size += int64(len(f.Name) + len(f.Value))
		}
		s.largest = max(s.largest, size)
		sum += size
	}
	s.average = sum / int64(len(entries))
	return s, sum
}

// newestBytes measures the last entry of a stream, which Redis tells with the rest; 0 where there is none.
func newestBytes(cmd *redis.XInfoStreamCmd) int64 {
	reply := cmd.Val()
	if reply == nil || reply.Length == 0 {
		return 0
	}
	size := int64(attributeBytes)
	for name, value := range reply.LastEntry.Values {
		text, _ := value.(string)
		size += int64(len(name) + len(text))
	}
	return size
}

// known gives what earlier reads tell of a stream's entries.
func (c *Client) known(stream string, limit Limit) sizes {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.sizes[stream]; ok {
		return known
	}
	return sizes{average: limit.Bytes / cautious}
}

// learn remembers how large entries are, and for some reads how large they were.
func (c *Client) learn(stream string, v view, limit Limit) {
	if len(v.entries) == 0 {
		return
	}
	before := c.known(stream, limit)
	now, _ := sizesOf(v.entries, v.newest)
	now.largest = max(now.largest, before.largest/4)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sizes[stream] = now
}

// readOn reads further pages where the first one has turned out small, or was small for caution, until about the limit.
// They count only where nothing has left the stream meanwhile: otherwise the first page is all, and the next read tells
// what was lost. Entries of about one size come in one page.
func (c *Client) readOn(ctx context.Context, stream string, v *view, page int64, limit Limit) error {
	first := len(v.entries)
	for full := int64(first) == page; full && len(v.entries) < limit.Count; {
		known, sum := sizesOf(v.entries, v.newest)
		if sum > limit.Bytes/2 {
			break
		}
		page = min(known.page(int64(limit.Count-len(v.entries)), limit.Bytes-sum), 4*int64(len(v.entries)))
		from := after(v.entries[len(v.entries)-1].ID)
		more, err := entriesOf(rangeCommand(ctx, c.redis, stream, from, newest, page))
		if err != nil {
			return err
		}
		v.entries = append(v.entries, more...)
		full = int64(len(more)) == page
	}
	if len(v.entries) == first {
		return nil
	}
	now, err := infoOf(c.redis.XInfoStream(ctx, stream))
	if err != nil {
		return err
	}
	if now.MaxDeleted != v.info.MaxDeleted || now.First != v.info.First || now.Removed() != v.info.Removed() {
		v.entries = v.entries[:first]
	}
	return nil
}
