package redisstream_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
)

func TestMirror(t *testing.T) {
	t.Parallel()
	client, _ := open(t)
	ctx := t.Context()
	if err := client.Mirror(ctx, stream, "counter", events.ID{Minor: 1}); err != nil {
		t.Errorf("missing stream: %v", err)
	}
	all := blocks(t, 0, 9, "a")
	if err := client.Append(ctx, stream, events.ID{}, all); err != nil {
		t.Fatal(err)
	}
	for _, at := range []events.ID{{}, all[3].ID, all[9].ID, all[6].ID} {
		if err := client.Mirror(ctx, stream, "counter", at); err != nil {
			t.Fatal(err)
		}
		got, err := client.Groups(ctx, stream)
		if err != nil {
			t.Fatal(err)
		}
		read := int64(at.Minor)
		want := []redisstream.Group{{Name: "counter", LastDelivered: at, EntriesRead: read, Lag: 10 - read}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("at %s: %s", at, diff)
		}
	}
}

func TestBehind(t *testing.T) {
	t.Parallel()
	feed := redisstream.Info{Length: 10, First: id(11), LastEntry: id(20)}
	open := redisstream.Info{Length: 101, First: events.ID{Major: 1000}, LastEntry: events.ID{Major: 2000}}
	one := redisstream.Info{Length: 1, First: id(5), LastEntry: id(5)}
	tests := map[string]struct {
		info redisstream.Info
		at   events.ID
		want int64
	}{
		"empty":            {redisstream.Info{}, id(5), 0},
		"feed, start":      {feed, id(0), 10},
		"feed, first":      {feed, id(11), 9},
		"feed, middle":     {feed, id(17), 3},
		"feed, end":        {feed, id(20), 0},
		"feed, beyond":     {feed, events.ID{Major: 1}, 0},
		"open, a quarter":  {open, events.ID{Major: 1750, Minor: 7}, 25},
		"open, almost all": {open, events.ID{Major: 1999, Minor: 7}, 1},
		"one, start":       {one, id(0), 1},
		"one, end":         {one, id(5), 0},
	}
	for name, tt := range tests {
		if got := tt.info.Behind(tt.at); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}
