package redisstream_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// TestMend damages an open stream of entries 1 to 10, which somebody has applied up to 7, and appends to it before and after it is
// mended.
func TestMend(t *testing.T) {
	t.Parallel()
	at := func(n uint64) events.ID { return events.ID{Major: 1700000000000 + n} }
	var all []events.Entry
	for n := range uint64(10) {
		all = append(all, flat(at(n+1), "memo"))
	}
	remove := func(from, to uint64) func(context.Context, *redis.Client, string) error {
		return func(ctx context.Context, plain *redis.Client, _ string) error {
			var ids []string
			for n := from; n <= to; n++ {
				ids = append(ids, at(n).String())
			}
			return plain.XDel(ctx, stream, ids...).Err()
		}
	}
	tests := map[string]struct {
		damage   func(ctx context.Context, plain *redis.Client, older string) error // older is the stream with four entries
		appended []uint64                                                           // before it is mended
		mended   bool                                                               // the stream has something in the place of 7
		holes    []watermark.Hole
		rest     int // of the old entries, with what was appended, that are read on
	}{
		"deleted": {
			damage: func(ctx context.Context, plain *redis.Client, _ string) error { return plain.Del(ctx, stream).Err() },
			mended: true, holes: []watermark.Hole{{After: at(7), Next: at(7).Next()}},
		},
		"rolled back": {
			damage: func(ctx context.Context, plain *redis.Client, older string) error {
				return plain.RestoreReplace(ctx, stream, 0, older).Err()
			},
			mended: true, holes: []watermark.Hole{{After: at(7), Next: at(7).Next()}},
		},
		"rolled back, a clock behind": {
			damage: func(ctx context.Context, plain *redis.Client, older string) error {
				return plain.RestoreReplace(ctx, stream, 0, older).Err()
			},
			appended: []uint64{5, 6}, mended: true, holes: []watermark.Hole{{After: at(7), Next: at(7).Next()}},
		},
		"rolled back, went on": {
			damage: func(ctx context.Context, plain *redis.Client, older string) error {
				return plain.RestoreReplace(ctx, stream, 0, older).Err()
			},
			appended: []uint64{20, 21}, holes: []watermark.Hole{{After: at(7), Next: at(20)}}, rest: 2,
		},
		"emptied": {
			damage: func(ctx context.Context, plain *redis.Client, _ string) error {
				return plain.XTrimMaxLen(ctx, stream, 0).Err()
			},
			mended: true, holes: []watermark.Hole{{After: at(7), Next: at(10).Next()}},
		},
		"deleted from the mark on": {
			damage: remove(7, 10), mended: true, holes: []watermark.Hole{{After: at(7), Next: at(10).Next()}},
		},
		"deleted behind the mark": {
			damage: remove(9, 9), mended: true, holes: []watermark.Hole{{After: at(8), Next: at(10)}}, rest: 2,
		},
		"deleted at the end": {
			damage: remove(10, 10), mended: true, holes: []watermark.Hole{{After: at(9), Next: at(10).Next()}}, rest: 2,
		},
		"its own entry deleted": {
			damage: remove(7, 7), holes: []watermark.Hole{{After: at(7), Next: at(8)}}, rest: 3,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, plain := open(t)
			ctx := t.Context()
			if err := client.Append(ctx, stream, events.ID{}, all[:4]); err != nil {
				t.Fatal(err)
			}
			older, err := plain.Dump(ctx, stream).Result()
			if err != nil {
				t.Fatal(err)
			}
			if err := client.Append(ctx, stream, all[3].ID, all[4:]); err != nil {
				t.Fatal(err)
			}
			if err := tt.damage(ctx, plain, older); err != nil {
				t.Fatal(err)
			}
			plain.Del(ctx, redisstream.StreamsKey)
			for _, n := range tt.appended {
				add(t, plain, at(n).String())
			}
			mark := markAt(all[6])
			if reason, err := client.Loss(ctx, stream, mark); err != nil || reason == "" {
				t.Fatalf("loss %q, %v", reason, err)
			}
			before, err := client.Info(ctx, stream)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time changes nothing
				mended, has, err := client.Mend(ctx, stream, mark)
				if err != nil || has != tt.mended {
					t.Fatalf("mended in its place: %t, %v", has, err)
				}
				places := cmpopts.IgnoreFields(watermark.Hole{}, "Removed", "First")
				if diff := cmp.Diff(tt.holes, mended.Holes, places); diff != "" {
					t.Error(diff)
				}
				wantRest(t, client, mended, tt.rest)
			}
			if err := client.Append(ctx, stream, events.ID{}, all[:1]); err == nil {
				t.Error("something can be added below the mark")
			}
			now, err := client.Info(ctx, stream)
			if err != nil || now.Last.Compare(before.Last) < 0 || now.Last.Compare(mark.ID) < 0 || now.Removed() == 0 {
				t.Errorf("the stream is %+v, %v, was %+v", now, err, before)
			}
			if reason, err := client.Loss(ctx, stream, watermark.Mark{}); err != nil || reason == "" {
				t.Errorf("who stands at 0-0 finds %q, %v", reason, err)
			}
			if names, err := client.Streams(ctx); err != nil || len(names) != 1 {
				t.Errorf("announced are %v, %v", names, err)
			}
			add(t, plain, "*")
			add(t, plain, "*")
			mended, _, err := client.Mend(ctx, stream, mark)
			if err != nil {
				t.Fatal(err)
			}
			wantRest(t, client, mended, tt.rest+2)
			if tt.mended && tt.rest == 0 { // whoever comes from below has lost something
				for _, below := range all[:4] {
					var loss *redisstream.LossError
					got, err := readAll(t, client, markAt(below), wide)
					passed := len(got) > 0 && got[len(got)-1].ID.Compare(mark.ID) >= 0
					if !errors.As(err, &loss) || passed {
						t.Errorf("%d deliveries after %s, the marker among them: %t, %v", len(got), below.ID, passed, err)
					}
				}
			}
		})
	}
}

func add(t *testing.T, plain *redis.Client, id string) {
	t.Helper()
	values := []string{"type", "memo", "chain", "bitcoin", "timestamp", "1700000000"}
	if err := plain.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, ID: id, Values: values}).Err(); err != nil {
		t.Fatal(err)
	}
}

// wantRest reads on from a mark, and sees that nothing of that cannot be read.
func wantRest(t *testing.T, client *redisstream.Client, mark watermark.Mark, want int) {
	t.Helper()
	got, err := readAll(t, client, mark, wide)
	if err != nil || len(got) != want {
		t.Errorf("%d deliveries, want %d: %v", len(got), want, err)
	}
	for _, d := range got {
		if _, err := d.Open(); err != nil {
			t.Errorf("%s: %v", d.ID, err)
		}
	}
}

// TestAMarkerIsNoEvent, and no dead letter: who accepts what is lost before it goes on behind it.
func TestAMarkerIsNoEvent(t *testing.T) {
	t.Parallel()
	client, plain := open(t)
	ctx := t.Context()
	first := flat(events.ID{Major: 1700000000000}, "memo")
	if err := client.Append(ctx, stream, events.ID{}, []events.Entry{first}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := client.Mend(ctx, stream, watermark.Mark{ID: events.ID{Major: 1700000000007}}); err != nil {
		t.Fatal(err)
	}
	add(t, plain, "*")
	mark := markAt(first)
	wantLoss(t, client, mark, "entries before 1700000000007-0 were lost")
	holes, err := client.Holes(ctx, stream, mark)
	if err != nil || len(holes) != 1 {
		t.Fatalf("%+v, %v", holes, err)
	}
	mark.Holes = holes
	wantRest(t, client, mark, 2)
	got, err := client.Read(ctx, stream, mark, wide)
	if err != nil {
		t.Fatal(err)
	}
	content, err := got[0].Open()
	if err != nil || len(content.Events) > 0 || content.Revert != nil {
		t.Errorf("the marker holds %+v, %v", content, err)
	}
	reparsed, err := events.ParseDelivery(got[0].CloudEvent())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reparsed.Open(); err != nil {
		t.Errorf("as a CloudEvent the marker is unreadable: %v", err)
	}
}
