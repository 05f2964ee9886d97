package redisstream_test

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

func id(minor uint64) events.ID { return events.ID{Minor: minor} }

// TestHoles damages a stream of blocks 0 to 199, accepts what is found, and reads on from block 4.
func TestHoles(t *testing.T) {
	t.Parallel()
	all := blocks(t, 0, 199, "a")
	tests := map[string]struct {
		deleted []string
		minimum string // of a trim
		atStart bool
		want    []watermark.Hole
		read    int
	}{
		"whole":              {read: 195},
		"trimmed":            {minimum: "0-100", want: []watermark.Hole{{After: id(5), Next: id(100)}}, read: 101},
		"trimmed, at start":  {minimum: "0-100", atStart: true, want: []watermark.Hole{{Next: id(100)}}, read: 101},
		"own entry":          {deleted: []string{"0-5"}, want: []watermark.Hole{{After: id(5), Next: id(6)}}, read: 195},
		"next entry":         {deleted: []string{"0-6"}, want: []watermark.Hole{{After: id(5), Next: id(7)}}, read: 194},
		"entry further on":   {deleted: []string{"0-150"}, want: []watermark.Hole{{After: id(149), Next: id(151)}}, read: 194},
		"at a page boundary": {deleted: []string{"0-69", "0-70"}, want: []watermark.Hole{{After: id(68), Next: id(71)}}, read: 193},
		"three": {
			deleted: []string{"0-5", "0-8", "0-9", "0-198"},
			want:    []watermark.Hole{{After: id(5), Next: id(6)}, {After: id(7), Next: id(10)}, {After: id(197), Next: id(199)}},
			read:    192,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, plain := open(t)
			ctx := t.Context()
			if err := client.Append(ctx, stream, events.ID{}, all); err != nil {
				t.Fatal(err)
			}
			for _, deleted := range tt.deleted {
				plain.XDel(ctx, stream, deleted)
			}
			if tt.minimum != "" {
				plain.XTrimMinID(ctx, stream, tt.minimum)
			}
			mark := markAt(all[4])
			if tt.atStart {
				mark = watermark.Mark{}
			}
			holes, err := client.Holes(ctx, stream, mark)
			if err != nil {
				t.Fatal(err)
			}
			places := cmpopts.IgnoreFields(watermark.Hole{}, "Removed", "First")
			if diff := cmp.Diff(tt.want, holes, places); diff != "" {
				t.Error(diff)
			}
			mark.Holes = holes
			got, err := readAll(t, client, mark, wide)
			if err != nil || len(got) != tt.read {
				t.Errorf("read %d, want %d: %v", len(got), tt.read, err)
			}
			if len(got) > 0 && got[0].Predecessor != mark.ID {
				t.Errorf("first predecessor is %s", got[0].Predecessor)
			}
			if again, err := client.Holes(ctx, stream, mark); err != nil || again != nil {
				t.Errorf("once accepted there are %v, %v", again, err)
			}
		})
	}
}

// TestHoleOfAHealedStream accepts a loss that the feed mends before the function has passed it.
func TestHoleOfAHealedStream(t *testing.T) {
	t.Parallel()
	client, plain := open(t)
	ctx := t.Context()
	all := blocks(t, 0, 19, "a")
	if err := client.Append(ctx, stream, events.ID{}, all); err != nil {
		t.Fatal(err)
	}
	plain.XTrimMinID(ctx, stream, "0-15")
	mark := markAt(all[4])
	var err error
	if mark.Holes, err = client.Holes(ctx, stream, mark); err != nil {
		t.Fatal(err)
	}
	if err := client.Replace(ctx, stream, redisstream.Info{Last: id(20), LastEntry: id(20), Length: 6}, 4, events.ID{}, all[4:]); err != nil {
		t.Fatal(err)
	}
	got, err := readAll(t, client, mark, wide)
	if err != nil || len(got) != 15 || got[0].ID != id(6) {
		t.Errorf("read %d entries, %v: want all 15 after the mark", len(got), err)
	}
}

// TestLossBeforeAnAcceptedOne is about streams without parent hashes, of which Redis tells only the last deleted entry.
func TestLossBeforeAnAcceptedOne(t *testing.T) {
	t.Parallel()
	deleted := func(ids ...string) func(context.Context, *redis.Client) error {
		return func(ctx context.Context, r *redis.Client) error { return r.XDel(ctx, stream, ids...).Err() }
	}
	nothing := func(context.Context, *redis.Client) error { return nil }
	tests := map[string]struct {
		before []string // deleted with 0-15, before that is accepted
		damage func(context.Context, *redis.Client) error
		reason string // none where it is no loss
		read   int    // entries, once everything is accepted
	}{
		"nothing more":          {damage: nothing, read: 14},
		"entry before the hole": {damage: deleted("0-8"), reason: "1 since the loss after 0-14", read: 13},
		"accepted with it":      {before: []string{"0-8"}, damage: nothing, read: 13},
		"one more than before":  {before: []string{"0-8"}, damage: deleted("0-9"), reason: "1 since", read: 12},
		"entry beyond the hole": {damage: deleted("0-18"), reason: "entry 0-18 was deleted", read: 13},
		"appended": {damage: func(ctx context.Context, r *redis.Client) error {
			return r.XAdd(ctx, &redis.XAddArgs{Stream: stream, ID: "0-21", Values: []string{"type", "x"}}).Err()
		}, read: 15},
		"trimmed to what is applied": {damage: func(ctx context.Context, r *redis.Client) error {
			return r.XTrimMinID(ctx, stream, "0-5").Err()
		}, read: 14},
		"trimmed in part": {damage: func(ctx context.Context, r *redis.Client) error {
			return r.XTrimMinID(ctx, stream, "0-3").Err()
		}, read: 14},
		"trimmed beyond": {damage: func(ctx context.Context, r *redis.Client) error {
			return r.XTrimMinID(ctx, stream, "0-7").Err()
		}, reason: "its beginning was removed", read: 13},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, plain := open(t)
			ctx := t.Context()
			var all []events.Entry
			for n := range uint64(20) {
				all = append(all, flat(id(n+1), "memo"))
			}
			if err := client.Append(ctx, stream, events.ID{}, all); err != nil {
				t.Fatal(err)
			}
			if err := deleted(append(tt.before, "0-15")...)(ctx, plain); err != nil {
				t.Fatal(err)
			}
			mark := accept(t, client, markAt(all[4]))
			if err := tt.damage(ctx, plain); err != nil {
				t.Fatal(err)
			}
			if tt.reason != "" {
				wantLoss(t, client, mark, tt.reason)
				mark = accept(t, client, mark)
			}
			got, err := readAll(t, client, mark, redisstream.Limit{Count: 2, Bytes: 8 << 20})
			if err != nil || len(got) != tt.read {
				t.Errorf("read %d entries, want %d: %v", len(got), tt.read, err)
			}
		})
	}
}

// accept gives the mark with all losses of its stream accepted, of which there must be some.
func accept(t *testing.T, client *redisstream.Client, mark watermark.Mark) watermark.Mark {
	t.Helper()
	holes, err := client.Holes(t.Context(), stream, mark)
	if err != nil || len(holes) == 0 {
		t.Fatalf("holes are %v, %v", holes, err)
	}
	for _, hole := range holes { // replaces one after the same entry, as the store does
		replaced := func(h watermark.Hole) bool { return h.After == hole.After }
		mark.Holes = slices.DeleteFunc(slices.Clone(mark.Holes), replaced)
		mark.Holes = append(mark.Holes, hole)
	}
	return mark
}

// TestIntruder has another producer add to a feed's stream.
func TestIntruder(t *testing.T) {
	t.Parallel()
	client, plain := open(t)
	all := blocks(t, 0, 9, "a")
	if err := client.Append(t.Context(), stream, events.ID{}, all); err != nil {
		t.Fatal(err)
	}
	if err := plain.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, Values: []string{"type", "x"}}).Err(); err != nil {
		t.Fatal(err)
	}
	wantLoss(t, client, markAt(all[9]), "another producer")
}

func TestNothingBeyondTheLoss(t *testing.T) {
	t.Parallel()
	client, plain := open(t)
	ctx := t.Context()
	all := blocks(t, 0, 9, "a")
	if err := client.Append(ctx, stream, events.ID{}, all[:8]); err != nil {
		t.Fatal(err)
	}
	if holes, err := client.Holes(ctx, stream, markAt(all[8])); err == nil {
		t.Errorf("rolled back: %v", holes)
	}
	plain.XDel(ctx, stream, "0-8")
	if holes, err := client.Holes(ctx, stream, markAt(all[4])); err == nil {
		t.Errorf("last entry deleted: %v", holes)
	}
	plain.Del(ctx, stream)
	if holes, err := client.Holes(ctx, stream, markAt(all[4])); err == nil {
		t.Errorf("deleted: %v", holes)
	}
}
