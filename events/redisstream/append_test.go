package redisstream_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

func TestAppend(t *testing.T) {
	t.Parallel()
	client, _ := open(t)
	ctx := t.Context()
	all := blocks(t, 0, 9, "a")
	all[3].Fields = append(all[3].Fields, events.Field{Name: "twice", Value: "1"}, events.Field{Name: "twice", Value: "\xff"})
	if err := client.Append(ctx, stream, events.ID{}, all[:4]); err != nil {
		t.Fatal(err)
	}
	if err := client.Append(ctx, stream, all[3].ID, all[4:]); err != nil {
		t.Fatal(err)
	}
	got, err := client.Range(ctx, stream, events.ID{}, events.ID{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all, got); diff != "" {
		t.Error(diff)
	}
	some, err := client.Range(ctx, stream, all[2].ID, all[3].ID, 100)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all[2:4], some); diff != "" {
		t.Error(diff)
	}
	info, err := client.Info(ctx, stream)
	if err != nil {
		t.Fatal(err)
	}
	want := redisstream.Info{
		Exists: true, Length: 10, First: all[0].ID, LastEntry: all[9].ID, Last: all[9].ID, EntriesAdded: 10,
	}
	if diff := cmp.Diff(want, info); diff != "" {
		t.Error(diff)
	}
}

func TestAppendIsFenced(t *testing.T) {
	t.Parallel()
	client, plain := open(t)
	ctx := t.Context()
	all := blocks(t, 0, 9, "a")
	if err := client.Append(ctx, stream, events.ID{}, all[:5]); err != nil {
		t.Fatal(err)
	}
	for _, after := range []events.ID{{}, all[3].ID} {
		err := client.Append(ctx, stream, after, all[5:])
		var fenced *redisstream.FencedError
		if !errors.As(err, &fenced) || fenced.Last != all[4].ID {
			t.Errorf("after %s: error is %v", after, err)
		}
	}
	if err := client.Append(ctx, "missing", all[4].ID, all[5:]); !strings.Contains(err.Error(), "ends at 0-0") {
		t.Errorf("error is %v", err)
	}
	plain.XTrimMaxLen(ctx, stream, 0) // an empty stream still knows where it ends
	if err := client.Append(ctx, stream, all[4].ID, all[5:]); err != nil {
		t.Error(err)
	}
}

func TestAppendRefuses(t *testing.T) {
	t.Parallel()
	client, _ := open(t)
	all := blocks(t, 0, 3, "a")
	tests := map[string][]events.Entry{
		"descending": {all[0], all[2], all[1]},
		"same":       {all[1], all[1]},
		"zero":       {{Fields: all[0].Fields}},
		"no fields":  {{ID: all[0].ID}},
		"too many":   {{ID: all[0].ID, Fields: make([]events.Field, 5000)}},
	}
	for name, entries := range tests {
		if err := client.Append(t.Context(), stream, events.ID{}, entries); err == nil {
			t.Errorf("%s: appended", name)
		}
	}
	if err := client.Replace(t.Context(), stream, redisstream.Info{}, 0, events.ID{}, nil); err == nil {
		t.Error("replaced by nothing")
	}
	if info, err := client.Info(t.Context(), stream); err != nil || info.Exists {
		t.Errorf("stream is %+v, %v", info, err)
	}
}

// TestTwoAppenders lets two feeds append the same chain at once: one of them is fenced at every block, nothing is
// written twice.
func TestTwoAppenders(t *testing.T) {
	t.Parallel()
	client, _ := open(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	all := blocks(t, 0, 199, "a")
	var feeds sync.WaitGroup
	fencings := make([]int, 2)
	for i := range fencings {
		feeds.Go(func() {
			for next := 0; next < len(all); {
				var after events.ID
				if next > 0 {
					after = all[next-1].ID
				}
				err := client.Append(ctx, stream, after, all[next:min(next+3, len(all))])
				var fenced *redisstream.FencedError
				switch {
				case errors.As(err, &fenced):
					fencings[i]++
					next = int(fenced.Last.Minor)
				case err != nil:
					t.Error(err)
					return
				default:
					next = min(next+3, len(all))
				}
			}
		})
	}
	feeds.Wait()
	got, err := client.Range(ctx, stream, events.ID{}, events.ID{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all, got); diff != "" {
		t.Error(diff)
	}
	t.Logf("the feeds were fenced %v times", fencings)
}

func TestReplace(t *testing.T) {
	t.Parallel()
	client, _ := open(t)
	ctx := t.Context()
	if err := client.Append(ctx, stream, events.ID{}, blocks(t, 0, 9, "a")); err != nil {
		t.Fatal(err)
	}
	other := blocks(t, 3, 5, "b")
	var fenced *redisstream.FencedError
	if err := client.Replace(ctx, stream, redisstream.Info{Last: events.ID{Minor: 9}}, 3, events.ID{}, other); !errors.As(err, &fenced) || fenced.Last.Minor != 10 {
		t.Fatalf("error is %v", err)
	}
	seen, err := client.Info(ctx, stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Replace(ctx, stream, seen, 3, events.ID{}, other); err != nil {
		t.Fatal(err)
	}
	got, err := client.Range(ctx, stream, events.ID{}, events.ID{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(other, got); diff != "" {
		t.Error(diff)
	}
	info, err := client.Info(ctx, stream)
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(3 + len(other)); info.EntriesAdded != want {
		t.Errorf("the stream has held %d entries, want %d", info.EntriesAdded, want)
	}
	var loss *redisstream.LossError
	if err := client.Check(ctx, stream, watermark.Mark{}); !errors.As(err, &loss) {
		t.Errorf("a reader that has applied nothing finds %v, want a loss", err)
	}
}

// TestServerThatCannotWrite looks for entries written in part, and for errors that hide what Redis says.
func TestServerThatCannotWrite(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		set, reset []any
		want       string
	}{
		"out of memory": {[]any{"config", "set", "maxmemory", "1"}, []any{"config", "set", "maxmemory", "0"}, "OOM"},
		"replica":       {[]any{"replicaof", "127.0.0.1", "1"}, []any{"replicaof", "no", "one"}, "READONLY"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, plain := open(t)
			ctx := t.Context()
			all := blocks(t, 0, 9, "a")
			if err := client.Append(ctx, stream, events.ID{}, all[:2]); err != nil {
				t.Fatal(err)
			}
			if err := plain.Do(ctx, tt.set...).Err(); err != nil {
				t.Fatal(err)
			}
			if err := client.Append(ctx, stream, all[1].ID, all[2:]); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v", err)
			}
			if err := client.Replace(ctx, stream, redisstream.Info{Last: all[1].ID, LastEntry: all[1].ID, Length: 2}, 2, events.ID{}, all[2:]); err == nil && name == "replica" {
				t.Errorf("replaced on a %s", name)
			}
			if err := plain.Do(ctx, tt.reset...).Err(); err != nil {
				t.Fatal(err)
			}
			info, err := client.Info(ctx, stream)
			if err != nil {
				t.Fatal(err)
			}
			if info.Length != 2 && info.Length != 8 {
				t.Errorf("stream has %d entries", info.Length)
			}
		})
	}
}
