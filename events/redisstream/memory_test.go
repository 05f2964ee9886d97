package redisstream_test

import (
	"errors"
	"testing"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// A Redis without memory refuses MULTI and everything that writes. What it holds can still be read, with the same proof.
func TestReadWithoutMemory(t *testing.T) {
	t.Parallel()
	client, plain := open(t)
	all := blocks(t, 0, 99, "a")
	if err := client.Append(t.Context(), stream, events.ID{}, all); err != nil {
		t.Fatal(err)
	}
	if err := plain.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	got, err := readAll(t, client, markAt(all[9]), redisstream.Limit{Count: 30, Bytes: 1 << 20})
	if err != nil || len(got) != 90 {
		t.Errorf("read %d entries, %v, want 90", len(got), err)
	}
	if got, err := client.Read(t.Context(), "missing", watermark.Mark{}, wide); err != nil || len(got) > 0 {
		t.Errorf("a missing stream gives %v, %v", got, err)
	}
	if err := plain.XDel(t.Context(), stream, all[50].ID.String()).Err(); err != nil {
		t.Fatal(err)
	}
	var lost *redisstream.LossError
	if _, err := client.Read(t.Context(), stream, markAt(all[9]), wide); !errors.As(err, &lost) {
		t.Errorf("read with %v, want a loss", err)
	}
}
