package redisstream_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// TestTrim removes what lies below an id, to the entry, and no loss is found by anybody who has come to that one.
func TestTrim(t *testing.T) {
	t.Parallel()
	const length = 1000
	tests := map[string]struct {
		below, keep int64
		first       int64 // left
	}{
		"nothing below":                {below: 1, first: 1},
		"one":                          {below: 2, first: 2},
		"within a node":                {below: 51, first: 51},
		"to the end of a node":         {below: 101, first: 101},
		"further by one":               {below: 102, first: 102},
		"several nodes":                {below: 777, first: 777},
		"all but the last":             {below: length, first: length},
		"the end has been lost":        {below: length + 1, first: 1},
		"keeping more than there are":  {below: 777, keep: 2000, first: 1},
		"keeping all":                  {below: 777, keep: length, first: 1},
		"keeping all but one":          {below: 777, keep: length - 1, first: 2},
		"keeping from a node's middle": {below: 777, keep: 550, first: 451},
		"keeping less than is below":   {below: 777, keep: 224, first: 777},
		"keeping one more":             {below: 777, keep: 225, first: 776},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, _ := open(t)
			all := blocks(t, 0, length-1, "a")
			if err := client.Append(t.Context(), stream, events.ID{}, all); err != nil {
				t.Fatal(err)
			}
			removed, err := client.Trim(t.Context(), stream, id(uint64(tt.below)), tt.keep)
			if err != nil || removed != tt.first-1 {
				t.Errorf("%d removed, %v, want %d", removed, err, tt.first-1)
			}
			info, err := client.Info(t.Context(), stream)
			if err != nil {
				t.Fatal(err)
			}
			want := redisstream.Info{
				Exists: true, Length: length - removed, First: id(uint64(tt.first)), LastEntry: id(length), Last: id(length), EntriesAdded: length,
			}
			if diff := cmp.Diff(want, info); diff != "" {
				t.Error(diff)
			}
			whole(t, client, all, int(tt.first-1))
		})
	}
}

// whole sees that a stream of these entries shows no loss to readers that have applied one that is left.
func whole(t *testing.T, client *redisstream.Client, all []events.Entry, first int) {
	t.Helper()
	var marks []watermark.Mark
	for _, place := range []int{first, (first + len(all)) / 2, len(all) - 1} {
		mark := markAt(all[min(place, len(all)-1)])
		marks = append(marks, mark)
		if read, err := readAll(t, client, mark, wide); err != nil || len(read) != len(all)-1-place {
			t.Errorf("after %s %d entries are read, %v", mark.ID, len(read), err)
		}
		if holes, err := client.Holes(t.Context(), stream, mark); err != nil || len(holes) > 0 {
			t.Errorf("after %s there are the holes %v, %v", mark.ID, holes, err)
		}
		if lacks, err := client.Lacks(t.Context(), stream, mark.ID); err != nil || lacks {
			t.Errorf("the stream lacks %s, %v", mark.ID, err)
		}
		if err := client.Mirror(t.Context(), stream, "reader", mark.ID); err != nil {
			t.Fatal(err)
		}
		groups, err := client.Groups(t.Context(), stream)
		if err != nil || len(groups) != 1 || groups[0].Lag != int64(len(all)-1-place) {
			t.Errorf("at %s the group is %+v, %v", mark.ID, groups, err)
		}
	}
	if lost, err := client.Lost(t.Context(), stream, marks); err != nil || lost != "" {
		t.Errorf("a feed finds a loss: %s, %v", lost, err)
	}
	for before, want := range map[events.ID]bool{{}: first > 0, id(uint64(first)): first > 0} {
		if lacks, err := client.Lacks(t.Context(), stream, before); err != nil || lacks != want {
			t.Errorf("the stream lacks %s: %t, %v", before, lacks, err)
		}
	}
}

// TestTrimOfLargeEntries, each of which Redis keeps by itself, over a reorganisation and in a stream without entries.
func TestTrimOfLargeEntries(t *testing.T) {
	t.Parallel()
	client, plain := open(t)
	if removed, err := client.Trim(t.Context(), stream, id(7), 0); err != nil || removed != 0 {
		t.Errorf("of no stream %d are removed, %v", removed, err)
	}
	for n := range 20 {
		major, minor := n/10, 1+n%10
		plain.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, ID: fmt.Sprintf("%d-%d", major, minor), Values: []string{"a", string(make([]byte, 9000))}})
	}
	for _, step := range []struct {
		keep  int64
		first string
	}{{17, "0-4"}, {3, "1-5"}} {
		if _, err := client.Trim(t.Context(), stream, events.ID{Major: 1, Minor: 5}, step.keep); err != nil {
			t.Fatal(err)
		}
		if info, err := client.Info(t.Context(), stream); err != nil || info.First.String() != step.first {
			t.Errorf("keeping %d it begins with %s, %v, want %s", step.keep, info.First, err, step.first)
		}
	}
}

// TestTrimWhileEntriesAreAppended, by two at once, while a reader moves on: it never meets a loss.
func TestTrimWhileEntriesAreAppended(t *testing.T) {
	t.Parallel()
	client, _ := open(t)
	all := blocks(t, 0, 1999, "a")
	var mu sync.Mutex
	reached := watermark.Mark{}
	mark := func() watermark.Mark {
		mu.Lock()
		defer mu.Unlock()
		return reached
	}
	var working sync.WaitGroup
	working.Go(func() {
		end := events.ID{}
		for from := 0; from < len(all); from += 25 {
			if err := client.Append(t.Context(), stream, end, all[from:from+25]); err != nil {
				t.Error(err)
				return
			}
			end = all[from+24].ID
		}
	})
	for range 2 {
		working.Go(func() {
			for last := all[len(all)-1].ID; mark().ID != last && !t.Failed(); {
				if below := mark().ID; !below.IsZero() {
					if _, err := client.Trim(t.Context(), stream, below, 3); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for applied := 0; applied < len(all) && !t.Failed(); {
		batch, err := client.Read(t.Context(), stream, mark(), redisstream.Limit{Count: 17, Bytes: 1 << 20})
		if err != nil {
			t.Error(err)
			break
		}
		if applied += len(batch); len(batch) > 0 {
			mu.Lock()
			reached = markAt(all[applied-1])
			mu.Unlock()
		}
	}
	working.Wait()
	if info, err := client.Info(t.Context(), stream); err != nil || info.Length > 1000 {
		t.Errorf("%d entries are left, %v", info.Length, err)
	}
}
