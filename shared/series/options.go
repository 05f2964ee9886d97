package series

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

var (
	// ErrNotAdditive says that a metric has no running total, because its buckets do not add up.
	ErrNotAdditive = errors.New("buckets do not add up")
	// ErrNotKept says that a metric has no buckets of the size asked for.
	ErrNotKept = errors.New("bucket size is not kept")
	// ErrEmptyRange says that no window can begin in the range asked for.
	ErrEmptyRange = errors.New("empty range")
	// ErrTooLong says that filling would make more than [MaxPoints] points: the range must be narrowed.
	ErrTooLong = errors.New("too many points")
)

// MaxPoints is the greatest number of points that filling may give, over all series together.
const MaxPoints = 1_000_000

// Options say how buckets are read.
type Options struct {
	Size       bucket.Size
	From, To   time.Time // windows that begin in [From, To), UTC; a zero time leaves that end open
	Fill       Fill      // the zero value is None
	Cumulative bool      // each point is the sum of all buckets up to it, from the very first, also where that lies before From
	// Level is the name in a bucket's detail of what stands until the next bucket: [Previous] shows it, instead of the value
	// of the bucket before. Empty where that is the value.
	Level string
}

// Check tells whether a metric of a type can be read in this way. It fails with [ErrNotKept], [ErrNotAdditive],
// [ErrEmptyRange].
func (o Options) Check(definition metric.Definition, kind metric.Type) error {
	if !slices.Contains(definition.BucketSizes, o.Size) {
		kept := make([]string, 0, len(definition.BucketSizes))
		for _, size := range definition.BucketSizes {
			kept = append(kept, size.String())
		}
		return fmt.Errorf("%w: %s has no %s buckets, only %s", ErrNotKept, definition.Name, o.Size, strings.Join(kept, ", "))
	}
	if o.Cumulative && !kind.Additive(definition) {
		return fmt.Errorf("%w: %s is a %s of aggregate %s, which has no running total", ErrNotAdditive,
			definition.Name, definition.Type, definition.Aggregate)
	}
	if !o.From.IsZero() && !o.To.IsZero() && !o.From.Before(o.To) {
		return fmt.Errorf("%w: %s is not before %s", ErrEmptyRange,
			o.From.Format(time.RFC3339Nano), o.To.Format(time.RFC3339Nano))
	}
	return nil
}

// ReadFrom gives the time from which buckets must be read for these options: the zero time, which is the beginning, where
// each point depends on all buckets before it.
func (o Options) ReadFrom() time.Time {
	if o.Cumulative {
		return time.Time{}
	}
	return o.From
}

// ReadBefore tells whether the last bucket before [Options.ReadFrom] must be read too, of each chain and set of dimensions.
func (o Options) ReadBefore() bool { return o.filled() && !o.ReadFrom().IsZero() }

func (o Options) filled() bool { return o.Fill == Zero || o.Fill == Previous }

// holds tells whether a window is to be shown.
func (o Options) holds(w bucket.Window) bool {
	return (o.From.IsZero() || !w.Start.Before(o.From)) && (o.To.IsZero() || w.Start.Before(o.To))
}
