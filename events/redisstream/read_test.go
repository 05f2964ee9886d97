package redisstream_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

var wide = redisstream.Limit{Count: 1000, Bytes: 8 << 20}

func markAt(entry events.Entry) watermark.Mark {
	return watermark.Mark{ID: entry.ID, Hash: entry.ContentHash()}
}

// readAll reads until nothing is left, as a source does whose function applies everything.
func readAll(t *testing.T, client *redisstream.Client, mark watermark.Mark, limit redisstream.Limit) ([]events.Delivery, error) {
	t.Helper()
	var all []events.Delivery
	for {
		batch, err := client.Read(t.Context(), stream, mark, limit)
		if err != nil || len(batch) == 0 {
			return all, err
		}
		last := batch[len(batch)-1]
		mark.ID, mark.Hash = last.ID, last.Hash
		all = append(all, batch...)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	client, _ := open(t)
	ctx := t.Context()
	if batch, err := client.Read(ctx, stream, watermark.Mark{}, wide); err != nil || batch != nil {
		t.Errorf("a missing stream gives %v, %v", batch, err)
	}
	all := blocks(t, 0, 99, "a")
	if err := client.Append(ctx, stream, events.ID{}, all); err != nil {
		t.Fatal(err)
	}
	for name, limit := range map[string]redisstream.Limit{
		"wide": wide, "count": {Count: 7, Bytes: 8 << 20}, "bytes": {Count: 1000, Bytes: 3000}, "one byte": {Count: 1000, Bytes: 1},
	} {
		for _, from := range []int{0, 1, 50, 100} {
			var mark watermark.Mark
			if from > 0 {
				mark = markAt(all[from-1])
			}
			got, err := readAll(t, client, mark, limit)
			if err != nil {
				t.Fatal(err)
			}
			var want []events.Delivery
			before := mark.ID
			for i, entry := range all[from:] {
				want = append(want, events.NewDelivery(stream, entry, before))
				before = entry.ID
				if i < len(got) && got[i].PredecessorHash != "" { // the first one of a batch
					want[i].PredecessorHash = markAt(all[from+i-1]).Hash
				}
			}
			if from > 0 && len(got) > 0 && got[0].PredecessorHash == "" {
				t.Errorf("%s from %d: the first delivery does not say what it follows", name, from)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s from %d: %s", name, from, diff)
			}
		}
	}
}

func TestReadIsBounded(t *testing.T) {
	t.Parallel()
	client, _ := open(t)
	ctx := t.Context()
	const padding = 100_000
	var all []events.Entry
	for n := range uint64(60) {
		size := 1
		if n >= 30 {
			size = padding
		}
		all = append(all, blockEntry(t, events.ID{Minor: n + 1}, n, hashOf(n, "a"), hashOf(n-1, "a"), strings.Repeat("x", size)))
	}
	if err := client.Append(ctx, stream, events.ID{}, all); err != nil {
		t.Fatal(err)
	}
	limit := redisstream.Limit{Count: 500, Bytes: 5 * padding}
	var mark watermark.Mark
	for seen := 0; seen < len(all); {
		batch, err := client.Read(ctx, stream, mark, limit)
		if err != nil || len(batch) == 0 {
			t.Fatalf("after %d entries: %v", seen, err)
		}
		size := int64(0)
		for _, d := range batch {
			size += int64(len(d.Data))
		}
		if size > limit.Bytes {
			t.Errorf("batch of %d entries has %d bytes", len(batch), size)
		}
		seen += len(batch)
		mark = markAt(all[seen-1])
	}
}

func TestReadReorganisation(t *testing.T) {
	t.Parallel()
	client, _ := open(t)
	ctx := t.Context()
	all := blocks(t, 0, 9, "a")
	revert, err := events.NewRevertEntry(events.ID{Major: 1}, "bitcoin",
		events.Revert{Ancestor: all[6].ID, Number: 6, Hash: hashOf(6, "a")}, time.Unix(1300000000, 0))
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, revert)
	parent := hashOf(6, "a")
	for n := uint64(7); n < 12; n++ {
		all = append(all, blockEntry(t, events.ID{Major: 1, Minor: n + 1}, n, hashOf(n, "b"), parent, ""))
		parent = hashOf(n, "b")
	}
	if err := client.Append(ctx, stream, events.ID{}, all); err != nil {
		t.Fatal(err)
	}
	for from := range all {
		got, err := readAll(t, client, markAt(all[from]), redisstream.Limit{Count: 2, Bytes: 8 << 20})
		if err != nil || len(got) != len(all)-1-from {
			t.Errorf("from %s: %d deliveries, %v", all[from].ID, len(got), err)
		}
	}
}

// TestPoisonBetweenBlocks: an entry that nobody can read is delivered, and its neighbours with it.
func TestPoisonBetweenBlocks(t *testing.T) {
	t.Parallel()
	client, _ := open(t)
	all := blocks(t, 0, 2, "a")
	all[1].Fields = []events.Field{{Name: "data", Value: "\xff"}}
	if err := client.Append(t.Context(), stream, events.ID{}, all); err != nil {
		t.Fatal(err)
	}
	got, err := readAll(t, client, watermark.Mark{}, redisstream.Limit{Count: 1, Bytes: 1})
	if err != nil || len(got) != 3 || got[1].Type != events.TypeRaw || got[2].Type != events.TypeBlock {
		t.Errorf("deliveries are %+v, %v", got, err)
	}
}

// losses is what others may do to a stream of blocks 0 to 9, read from block 4.
var losses = map[string]struct {
	damage func(context.Context, *redis.Client) error
	from   int // the entry where the reader stands, -1 for before the first
	reason string
}{
	"deleted": {func(ctx context.Context, r *redis.Client) error { return r.Del(ctx, stream).Err() }, 4, "does not exist"},
	"trimmed": {
		func(ctx context.Context, r *redis.Client) error { return r.XTrimMinID(ctx, stream, "0-8").Err() }, 4, "begins at 0-8",
	},
	"trimmed to nothing": {
		func(ctx context.Context, r *redis.Client) error { return r.XTrimMaxLen(ctx, stream, 0).Err() }, 4, "all its entries",
	},
	"trimmed before the start": {
		func(ctx context.Context, r *redis.Client) error { return r.XTrimMinID(ctx, stream, "0-2").Err() }, -1, "1 of the 10",
	},
	"own entry deleted": {
		func(ctx context.Context, r *redis.Client) error { return r.XDel(ctx, stream, "0-5").Err() }, 4, "entry 0-5 was deleted",
	},
	"next entry deleted": {
		func(ctx context.Context, r *redis.Client) error { return r.XDel(ctx, stream, "0-6").Err() }, 4, "entry 0-6 was deleted",
	},
	"entry in the middle deleted": {
		func(ctx context.Context, r *redis.Client) error { return r.XDel(ctx, stream, "0-8").Err() }, 4, "entry 0-8 was deleted",
	},
	"last entry deleted": {
		func(ctx context.Context, r *redis.Client) error { return r.XDel(ctx, stream, "0-10").Err() }, 4, "entry 0-10 was deleted",
	},
	"first entry deleted at the start": {
		func(ctx context.Context, r *redis.Client) error { return r.XDel(ctx, stream, "0-1").Err() }, -1, "1 of the 10",
	},
}

func TestLosses(t *testing.T) {
	t.Parallel()
	for name, tt := range losses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, plain := open(t)
			ctx := t.Context()
			all := blocks(t, 0, 9, "a")
			if err := client.Append(ctx, stream, events.ID{}, all); err != nil {
				t.Fatal(err)
			}
			var mark watermark.Mark
			if tt.from >= 0 {
				mark = markAt(all[tt.from])
			}
			if err := client.Check(ctx, stream, mark); err != nil {
				t.Fatal(err)
			}
			if err := tt.damage(ctx, plain); err != nil {
				t.Fatal(err)
			}
			wantLoss(t, client, mark, tt.reason)
			heal(t, client, mark, all)
		})
	}
}

func wantLoss(t *testing.T, client *redisstream.Client, mark watermark.Mark, reason string) {
	t.Helper()
	for range 2 { // what Redis does not say the client must not learn
		batch, err := client.Read(t.Context(), stream, mark, redisstream.Limit{Count: 2, Bytes: 8 << 20})
		var loss *redisstream.LossError
		if !errors.As(err, &loss) || !strings.Contains(loss.Reason, reason) || batch != nil {
			t.Errorf("%d deliveries, error is %v, want %q", len(batch), err, reason)
		}
		if err := client.Check(t.Context(), stream, mark); !errors.As(err, &loss) {
			t.Errorf("check gives %v", err)
		}
	}
}

// heal does what a feed does: it replaces the stream, from the reader's own entry on.
func heal(t *testing.T, client *redisstream.Client, mark watermark.Mark, all []events.Entry) {
	t.Helper()
	info, err := client.Info(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	own := 0
	if !mark.ID.IsZero() {
		own = int(mark.ID.Minor) - 1
	}
	if err := client.Replace(t.Context(), stream, info, uint64(own), events.ID{}, all[own:]); err != nil {
		t.Fatal(err)
	}
	got, err := readAll(t, client, mark, wide)
	want := len(all) - own
	if !mark.ID.IsZero() {
		want--
	}
	if err != nil || len(got) != want {
		t.Errorf("after healing %d deliveries, want %d: %v", len(got), want, err)
	}
}

func TestOtherHistory(t *testing.T) {
	t.Parallel()
	all := blocks(t, 0, 9, "a")
	mark := markAt(all[4])
	gap := append(blocks(t, 0, 6, "a"), blocks(t, 8, 9, "a")...)
	tests := map[string]struct {
		entries []events.Entry
		mark    watermark.Mark
		reason  string
	}{
		"rolled back":          {all[:3], mark, "rolled back: it ends at 0-3"},
		"rolled back, went on": {blocks(t, 0, 9, "b"), mark, "another content"},
		"never had the entry":  {gap, markAt(all[7]), "was deleted"},
		"gap between blocks":   {gap, markAt(all[6]), "is not the child"},
		"other branch":         {append(blocks(t, 0, 4, "a"), blocks(t, 5, 9, "b")...), mark, "is not the child"},
		"epoch without its revert": {
			append(blocks(t, 0, 4, "a"), blockEntry(t, events.ID{Major: 1, Minor: 6}, 5, hashOf(5, "b"), hashOf(4, "a"), "")),
			mark, "revert entry",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, _ := open(t)
			if err := client.Append(t.Context(), stream, events.ID{}, tt.entries); err != nil {
				t.Fatal(err)
			}
			wantLoss(t, client, tt.mark, tt.reason)
		})
	}
}

// TestGapFurtherOn: a batch is refused whole where its last entry does not follow.
func TestGapFurtherOn(t *testing.T) {
	t.Parallel()
	client, _ := open(t)
	gap := append(blocks(t, 0, 6, "a"), blocks(t, 8, 9, "a")...)
	if err := client.Append(t.Context(), stream, events.ID{}, gap); err != nil {
		t.Fatal(err)
	}
	var loss *redisstream.LossError
	if batch, err := client.Read(t.Context(), stream, markAt(gap[2]), wide); !errors.As(err, &loss) || batch != nil {
		t.Errorf("%d deliveries, %v", len(batch), err)
	}
}

func TestFlatEntries(t *testing.T) {
	t.Parallel()
	client, plain := open(t)
	ctx := t.Context()
	var all []events.Entry
	for n := range uint64(10) {
		all = append(all, flat(events.ID{Major: 1700000000000 + n*10, Minor: n}, "memo"))
	}
	if err := client.Append(ctx, stream, events.ID{}, all); err != nil {
		t.Fatal(err)
	}
	got, err := readAll(t, client, markAt(all[3]), wide)
	if err != nil || len(got) != 6 {
		t.Errorf("%d deliveries, %v", len(got), err)
	}
	if err := plain.XDel(ctx, stream, all[6].ID.String()).Err(); err != nil {
		t.Fatal(err)
	}
	wantLoss(t, client, markAt(all[3]), "was deleted")
	if _, err := readAll(t, client, markAt(all[7]), wide); err != nil {
		t.Errorf("beyond the deleted entry: %v", err)
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	client, _ := open(t)
	ctx := t.Context()
	all := blocks(t, 0, 2, "a")
	for _, after := range []events.ID{{}, all[1].ID} {
		done := make(chan error)
		go func() {
			for range 50 {
				if info, err := client.Info(ctx, stream); err != nil || info.Last.Compare(after) > 0 {
					done <- err
					return
				}
				if err := client.Wait(ctx, stream, after, time.Minute); err != nil {
					done <- err
					return
				}
			}
			done <- errors.New("no entry came")
		}()
		if err := client.Append(ctx, stream, after, all[after.Minor:after.Minor+2-after.Minor/2]); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if err := client.Wait(ctx, stream, all[2].ID, time.Millisecond); err != nil {
		t.Errorf("timeout gives %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := client.Wait(ended, stream, all[2].ID, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}
