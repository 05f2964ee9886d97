package watermark_test

import (
	"errors"
	"testing"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

func TestRemaining(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		mark  watermark.Mark
		batch []events.Delivery
		want  int // entries left
		err   error
	}{
		"start":                       {mark(0), chain(0, 1, 2, 3), 3, nil},
		"next":                        {mark(3), chain(3, 4, 5), 2, nil},
		"overlap":                     {mark(3), chain(1, 2, 3, 4, 5), 2, nil},
		"overlap with the last":       {mark(4), chain(1, 2, 3, 4, 5), 1, nil},
		"applied":                     {mark(5), chain(3, 4, 5), 0, nil},
		"applied long ago":            {mark(9), chain(3, 4, 5), 0, nil},
		"gap":                         {mark(3), chain(4, 5, 6), 0, watermark.ErrGap},
		"gap at the start":            {mark(0), chain(4, 5, 6), 0, watermark.ErrGap},
		"mark not in the batch":       {mark(4), chain(3, 5, 6), 0, watermark.ErrDiverged},
		"mark not in overlapping":     {mark(4), chain(1, 2, 3, 5, 6), 0, watermark.ErrDiverged},
		"applied with other content":  {watermark.Mark{ID: id(3), Hash: "other"}, chain(1, 2, 3, 4), 0, watermark.ErrDiverged},
		"last with other content":     {watermark.Mark{ID: id(4), Hash: "other"}, chain(2, 3, 4), 0, watermark.ErrDiverged},
		"after what was applied":      {mark(3), after("h3", chain(3, 4, 5)), 2, nil},
		"after other content":         {mark(3), after("other", chain(3, 4, 5)), 0, watermark.ErrDiverged},
		"overlap after other content": {mark(4), after("other", chain(3, 4, 5)), 1, nil},
		"accepted hole":               {watermark.Mark{ID: id(3), Hash: "h3", Holes: holes(3, 7)}, chain(3, 7, 8), 2, nil},
		"a later batch than the hole": {watermark.Mark{ID: id(3), Hash: "h3", Holes: holes(3, 7)}, chain(8, 9), 0, watermark.ErrGap},
		"empty":                       {mark(3), nil, 0, events.ErrInvalid},
		"break within":                {mark(3), append(chain(3, 4, 5), chain(6, 7)...), 0, events.ErrInvalid},
		"backwards":                   {mark(0), chain(0, 2, 1), 0, events.ErrInvalid},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rest, err := c.mark.Remaining(c.batch)
			if !errors.Is(err, c.err) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if len(rest) != c.want {
				t.Fatalf("%d entries left, want %d", len(rest), c.want)
			}
			if c.want > 0 && rest[len(rest)-1].ID != c.batch[len(c.batch)-1].ID {
				t.Error("the rest is not the end of the batch")
			}
		})
	}
}

// chain gives the deliveries of the entries after the first number, each following the number before it.
func chain(numbers ...uint64) []events.Delivery {
	var batch []events.Delivery
	for i, n := range numbers[1:] {
		batch = append(batch, events.Delivery{ID: id(n), Predecessor: id(numbers[i]), Hash: hash(n)})
	}
	return batch
}

// after names the content hash of the entry before a batch.
func after(hash string, batch []events.Delivery) []events.Delivery {
	batch[0].PredecessorHash = hash
	return batch
}

func holes(after, next uint64) []watermark.Hole {
	return []watermark.Hole{{After: id(after), Next: id(next)}}
}

func mark(n uint64) watermark.Mark {
	if n == 0 {
		return watermark.Mark{}
	}
	return watermark.Mark{ID: id(n), Hash: hash(n)}
}

func id(n uint64) events.ID { return events.ID{Minor: n} }

func hash(n uint64) string { return "h" + string(rune('0'+n)) }
