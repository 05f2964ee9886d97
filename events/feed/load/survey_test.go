package load_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/feed/load"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// losses are what can happen to a stream of 2000 entries, for which the functions' marks stand at some of its entries, at
// -1 for nothing applied; from is the entry that it has to begin with once the file was loaded again.
var losses = map[string]struct {
	marks []int
	lose  func(ctx context.Context, b *bed, all []events.Entry) error
	from  int
}{
	"deleted":                        {[]int{700}, removed, 700},
	"deleted, one at the beginning":  {[]int{700, -1}, removed, 0},
	"trimmed above a mark":           {[]int{900, 700}, trimmed(800), 700},
	"trimmed, one at the beginning":  {[]int{900, -1}, trimmed(800), 0},
	"trimmed, nobody has begun":      {nil, trimmed(800), 0},
	"trimmed, nothing was applied":   {[]int{-1, -1}, trimmed(1), 0},
	"all trimmed":                    {[]int{-1}, trimmed(2000), 0},
	"an entry deleted":               {[]int{700, 1200}, deleted(800), 700},
	"the first entry deleted":        {[]int{-1}, deleted(0), 0},
	"the last entries deleted":       {[]int{700}, deleted(1998, 1999), 700},
	"rolled back below a mark":       {[]int{1200, 700}, rolledBack(500), 700},
	"rolled back above all":          {[]int{600, -1}, rolledBack(700), 0},
	"rolled back between":            {[]int{1200, 700, -1}, rolledBack(900), 0},
	"begun again and trimmed before": {[]int{1200, -1}, begunAgain(1200, 100), 0},
}

func removed(ctx context.Context, b *bed, _ []events.Entry) error {
	return b.plain.Del(ctx, stream).Err()
}

func trimmed(entries int) func(context.Context, *bed, []events.Entry) error {
	return func(ctx context.Context, b *bed, all []events.Entry) error {
		return b.plain.XTrimMaxLen(ctx, stream, int64(len(all)-entries)).Err()
	}
}

func deleted(numbers ...int) func(context.Context, *bed, []events.Entry) error {
	return func(ctx context.Context, b *bed, all []events.Entry) error {
		for _, i := range numbers {
			if err := b.plain.XDel(ctx, stream, all[i].ID.String()).Err(); err != nil {
				return err
			}
		}
		return nil
	}
}

func rolledBack(entries int) func(context.Context, *bed, []events.Entry) error {
	return func(ctx context.Context, b *bed, all []events.Entry) error {
		if err := removed(ctx, b, all); err != nil {
			return err
		}
		return b.redis.Append(ctx, stream, events.ID{}, all[:entries])
	}
}

// begunAgain is what a load leaves that has filled a stream again from a mark on and was killed.
func begunAgain(mark, entries int) func(context.Context, *bed, []events.Entry) error {
	return func(ctx context.Context, b *bed, all []events.Entry) error {
		info, err := b.redis.Info(ctx, stream)
		if err != nil {
			return err
		}
		return b.redis.Replace(ctx, stream, info, uint64(mark), info.Last, all[mark:mark+entries])
	}
}

// TestFillsAgain loads a file into a stream that has lost entries that a function has still to apply.
func TestFillsAgain(t *testing.T) {
	t.Parallel()
	for name, c := range losses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, all := newBed(t), sample(t, 1000, nil)
			run(t, b.config(all), b.redis)
			for _, i := range c.marks {
				b.marks = append(b.marks, markOf(all, i))
			}
			if err := c.lose(t.Context(), b, all); err != nil {
				t.Fatal(err)
			}
			run(t, b.config(all), b.redis)
			b.holds(t, all[c.from:])
			for _, mark := range append([]watermark.Mark{watermark.Lowest(b.marks)}, b.marks...) {
				if err := b.redis.Check(t.Context(), stream, mark); err != nil {
					t.Error(err)
				}
			}
			if again := run(t, b.config(all), b.redis); again != (load.Progress{Known: 2000}) {
				t.Errorf("loaded again, it gives %+v", again)
			}
		})
	}
}

func markOf(all []events.Entry, i int) watermark.Mark {
	if i < 0 {
		return watermark.Mark{}
	}
	return watermark.Mark{ID: all[i].ID, Hash: all[i].ContentHash()}
}

// without gives entries but one.
func without(all []events.Entry, i int) []events.Entry {
	return slices.Delete(slices.Clone(all), i, i+1)
}

// TestFillsOnlyFromAll refuses to replace a stream by a file that lacks what the stream ever held, or what a function has
// applied. The stream stays as it is, and its loss visible.
func TestFillsOnlyFromAll(t *testing.T) {
	t.Parallel()
	all := sample(t, 1000, nil)
	cases := map[string]struct {
		marks []int
		lose  func(context.Context, *bed, []events.Entry) error
		file  []events.Entry
		row   string // that is named, if any
		want  string
	}{
		"another at the mark": {
			[]int{700},
			removed, sample(t, 1000, map[int]string{700: "!"}),
			"line 702", "a function has applied another row with the id 351-1 than this one with 351-1",
		},
		"begins after the mark": {
			[]int{700},
			removed, all[701:],
			"line 2", "a function has applied another row with the id 351-1 than this one with 351-2",
		},
		"ends before the mark": {[]int{700}, removed, all[:300], "", "a function has applied 351-1, which is not in it"},
		"another at a higher mark": {
			[]int{700, 1200},
			removed, sample(t, 1000, map[int]string{1200: "!"}),
			"line 1202", "a function has applied another row with the id 601-1 than this one with 601-1",
		},
		"lacks a higher mark": {
			[]int{700, 1200},
			removed, without(all, 1200),
			"line 1202", "a function has applied another row with the id 601-1 than this one with 601-2",
		},
		"begins within the stream": {
			[]int{-1},
			trimmed(800), all[900:],
			"line 2", "the stream still holds 401-1, which is not in the file before this row, 451-1",
		},
		"ends within the stream": {[]int{-1}, trimmed(800), all[:1100], "", "the stream still holds 551-1, which is not in it"},
		"another within the stream": {
			[]int{-1},
			trimmed(800), sample(t, 1000, map[int]string{900: "!"}),
			"line 902", "its id 451-1 is in the stream with other content",
		},
		"lacks what was trimmed":     {[]int{-1}, trimmed(800), all[800:], "", "it has 1200 rows up to 1000-2, the stream has held 2000"},
		"lacks some, all is trimmed": {[]int{-1}, trimmed(2000), all[1500:], "", "it has 500 rows up to 1000-2, the stream has held 2000"},
		"lacks some above the mark": {
			[]int{700}, trimmed(1200), slices.Concat(all[:701], all[1200:]), "", "it has 1501 rows up to 1000-2, the stream has held 2000",
		},
		"lacks the last ones, deleted": {[]int{700}, deleted(1998, 1999), all[:1998], "", "it has 1998 rows up to 1000-2, the stream has held 2000"},
		"lacks what was deleted":       {[]int{700}, deleted(800), without(all, 800), "", "it has 1999 rows up to 1000-2, the stream has held 2000"},
		"lacks what was rolled back":   {[]int{1200, 700}, rolledBack(900), all[1200:], "line 2", "a function has applied another row with the id 351-1 than this one with 601-1"},
		"lacks some of that":           {[]int{1200, -1}, rolledBack(900), slices.Concat(all[:900], all[1300:]), "line 902", "a function has applied another row with the id 601-1 than this one with 651-1"},
		"has one more than was fed":    {[]int{-1}, trimmed(800), nil, "", "it has 2000 rows up to 1000-2, the stream has held 1999"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, fed := newBed(t), all
			if c.file == nil {
				fed, c.file = without(all, 99), all
			}
			run(t, b.config(fed), b.redis)
			for _, i := range c.marks {
				b.marks = append(b.marks, markOf(all, i))
			}
			if err := c.lose(t.Context(), b, fed); err != nil {
				t.Fatal(err)
			}
			before := b.entries(t)
			lost, err := b.redis.Lost(t.Context(), stream, b.marks)
			if err != nil || lost == "" {
				t.Fatalf("lost: %q, %v", lost, err)
			}
			for range 2 {
				_, err = load.Run(t.Context(), b.config(c.file), b.redis)
				b.refused(t, err, c.row, "the stream has lost entries, "+lost+", and is filled again only by all its files at once: "+c.want)
			}
			b.holds(t, before)
			if still, err := b.redis.Lost(t.Context(), stream, b.marks); err != nil || still != lost {
				t.Errorf("afterwards lost: %q, %v", still, err)
			}
		})
	}
}

func (b *bed) entries(t *testing.T) []events.Entry {
	t.Helper()
	entries, err := b.redis.Range(t.Context(), stream, events.ID{}, events.ID{}, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// refused wants an error at a row, if one is named.
func (b *bed) refused(t *testing.T, err error, row, want string) {
	t.Helper()
	want = "the stream differs from the file: " + want
	if row != "" {
		want = "f.csv, " + row + ": " + want
	}
	if !errors.Is(err, load.ErrDiffers) || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// TestFillingIsNotForgotten interrupts a load that fills a stream again. Nothing can be added to the stream until a load has
// come to its end, and none takes less than that for all.
func TestFillingIsNotForgotten(t *testing.T) {
	t.Parallel()
	all := sample(t, 1250, nil)
	older, newer := all[:2000], all[2000:]
	for name, mark := range map[string]int{"from the beginning": -1, "from a mark": 700} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			run(t, b.config(older), b.redis)
			b.marks = []watermark.Mark{markOf(all, mark)}
			if err := removed(t.Context(), b, all); err != nil {
				t.Fatal(err)
			}
			if err := rolledBack(2000)(t.Context(), b, all); err != nil {
				t.Fatal(err)
			}
			if err := trimmed(1000)(t.Context(), b, older); err != nil {
				t.Fatal(err)
			}
			ctx, kill := context.WithCancel(t.Context())
			cfg := b.config(older)
			cfg.Report = func(p load.Progress) {
				if p.Added == 500 {
					kill()
				}
			}
			if _, err := load.Run(ctx, cfg, b.redis); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if len(b.entries(t)) != 500 {
				t.Fatalf("%d entries", len(b.entries(t)))
			}
			if err := b.redis.Check(t.Context(), stream, b.marks[0]); err != nil {
				t.Errorf("the function cannot go on meanwhile: %v", err)
			}
			if _, err := load.Run(t.Context(), b.config(newer), b.redis); !errors.Is(err, load.ErrDiffers) {
				t.Errorf("a newer file: %v", err)
			}
			if _, err := load.Run(t.Context(), b.config(all[:1500]), b.redis); !errors.Is(err, load.ErrDiffers) {
				t.Errorf("a part of the file: %v", err)
			}
			run(t, b.config(all), b.redis)
			b.holds(t, all[max(0, mark):])
			if again := run(t, b.config(all), b.redis); again != (load.Progress{Known: 2500}) {
				t.Errorf("loaded again, it gives %+v", again)
			}
		})
	}
}

// TestAnotherFeedMeanwhile lets another feed come in the middle of one that fills a stream again.
func TestAnotherFeedMeanwhile(t *testing.T) {
	t.Parallel()
	all := sample(t, 1250, nil)
	older := all[:2000]
	for name, file := range map[string][]events.Entry{"of a newer file": all[2000:], "of all": all, "of the same": older} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			run(t, b.config(older), b.redis)
			b.marks = []watermark.Mark{{}}
			if err := trimmed(800)(t.Context(), b, older); err != nil {
				t.Fatal(err)
			}
			cfg := b.config(older)
			other := 0
			cfg.Report = func(p load.Progress) {
				if other++; p.Added == 500 && other < 10 {
					other = 10
					_, err := load.Run(t.Context(), b.config(file), b.redis)
					if (err != nil) != (name == "of a newer file") {
						t.Errorf("the other ends with %v", err)
					}
				}
			}
			run(t, cfg, b.redis)
			b.holds(t, all[:max(2000, len(b.entries(t)))])
			if lost, err := b.redis.Lost(t.Context(), stream, b.marks); err != nil || lost != "" {
				t.Errorf("lost: %q, %v", lost, err)
			}
		})
	}
}

// TestLostMeanwhile loses entries while a load compares its rows with them.
func TestLostMeanwhile(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(context.Context, *bed, []events.Entry) error{
		"deleted": removed, "being filled again": func(ctx context.Context, b *bed, all []events.Entry) error {
			return begunAgain(700, 100)(ctx, b, all)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, all := newBed(t), sample(t, 1000, nil)
			run(t, b.config(all), b.redis)
			b.mark(all[700])
			cfg := b.config(all)
			gone := false
			cfg.Report = func(p load.Progress) {
				if p.Known == 1000 && !gone {
					gone = true
					if err := lose(t.Context(), b, all); err != nil {
						t.Error(err)
					}
				}
			}
			run(t, cfg, b.redis)
			b.holds(t, all[700:])
		})
	}
}

// TestFillsAFullStream fills a stream again whose functions are so far behind that nothing would be appended.
func TestFillsAFullStream(t *testing.T) {
	t.Parallel()
	b, all := newBed(t), sample(t, 1000, nil)
	run(t, b.config(all[:1000]), b.redis)
	b.marks = []watermark.Mark{{}}
	if err := deleted(0)(t.Context(), b, all); err != nil {
		t.Fatal(err)
	}
	cfg := b.config(all[:1000])
	cfg.Limit = 400
	waits := make(chan struct{}, 1000)
	cfg.Report = func(p load.Progress) {
		if strings.HasPrefix(p.Note, "waiting: functions") {
			waits <- struct{}{}
		}
	}
	ended := make(chan error, 1)
	go func() {
		_, err := load.Run(t.Context(), cfg, b.redis)
		ended <- err
	}()
	for {
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
			b.holds(t, all[:1000])
			return
		case <-waits: // the function can go on
			if err := b.redis.Check(t.Context(), stream, watermark.Mark{}); err != nil {
				t.Fatal(err)
			}
			held := b.entries(t)
			b.mark(held[len(held)-1])
		}
	}
}

// TestMarksMoveMeanwhile trims what a function applies while a load looks for losses.
func TestMarksMoveMeanwhile(t *testing.T) {
	t.Parallel()
	b, all := newBed(t), sample(t, 1000, nil)
	run(t, b.config(all[:1500]), b.redis)
	b.mark(all[700])
	cfg := b.config(all[1500:])
	read, moved := cfg.Marks, false
	cfg.Marks = func(ctx context.Context) ([]watermark.Mark, error) {
		marks, err := read(ctx)
		if !moved {
			moved = true
			b.mark(all[1300])
			err = errors.Join(err, b.plain.XTrimMaxLen(ctx, stream, 300).Err())
		}
		return marks, err
	}
	if done := run(t, cfg, b.redis); done != (load.Progress{Added: 500}) {
		t.Errorf("progress is %+v", done)
	}
	b.holds(t, all[1200:])
}

// TestFillsNotFromWhatIsReadOnce does not begin what it cannot end.
func TestFillsNotFromWhatIsReadOnce(t *testing.T) {
	t.Parallel()
	b, all := newBed(t), sample(t, 10, nil)
	run(t, b.config(all), b.redis)
	if err := trimmed(5)(t.Context(), b, all); err != nil {
		t.Fatal(err)
	}
	cfg := b.config(all)
	cfg.Once = true
	if _, err := load.Run(t.Context(), cfg, b.redis); !errors.Is(err, load.ErrOnce) {
		t.Error(err)
	}
	b.holds(t, all[5:])
}

// TestKnowsWhatWasPruned loads a file again after entries were removed that every function has applied.
func TestKnowsWhatWasPruned(t *testing.T) {
	t.Parallel()
	all := sample(t, 1000, nil)
	const number = "whether they are the same cannot be told; feed all its files at once, or what comes after 1000-2"
	cases := map[string]struct {
		fed  []events.Entry
		lose func(context.Context, *bed, []events.Entry) error
		file []events.Entry
		row  string
		want string // empty: all rows are known
	}{
		"trimmed":             {all, trimmed(800), all, "", ""},
		"deleted":             {all, deleted(850), all, "", ""},
		"the newer rows":      {all, trimmed(800), all[950:], "", ""},
		"a row more":          {without(all, 99), trimmed(800), all, "line 2", "this row and 800 that follow are not in the stream, which has lost 800 that every function has applied: " + number},
		"rows never fed":      {all[1000:], trimmed(200), all[:800], "line 2", "this row and 799 that follow are not in the stream, which has lost 200 that every function has applied: " + number},
		"only the older rows": {all, trimmed(800), all[:800], "line 2", "this row and 799 that follow are not in the stream, which has lost 800 that every function has applied: " + number},
		"without the oldest":  {all, trimmed(800), all[50:], "line 2", "this row and 749 that follow are not in the stream, which has lost 800 that every function has applied: " + number},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			run(t, b.config(c.fed), b.redis)
			b.mark(all[900])
			if name == "rows never fed" {
				b.mark(all[1300])
			}
			if err := c.lose(t.Context(), b, c.fed); err != nil {
				t.Fatal(err)
			}
			held := b.entries(t)
			done, err := load.Run(t.Context(), b.config(c.file), b.redis)
			if c.want != "" {
				b.refused(t, err, c.row, c.want)
			} else if err != nil || done != (load.Progress{Known: int64(len(c.file))}) {
				t.Errorf("%+v, %v", done, err)
			}
			b.holds(t, held)
		})
	}
}
