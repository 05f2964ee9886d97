package runner

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
)

// workTime is how long one tick begins new work, well below the time that it may take. What is left is there for the next one.
const workTime = 30 * time.Second

// Function is a metric type by the stream and by the clock.
type Function struct {
	*aggregate.Function
	kind  aggregate.Type
	store Store
}

// FunctionStore is what a function needs of the store.
type FunctionStore interface {
	aggregate.Store
	Store
}

// NewFunction makes the function of a metric type over a store.
func NewFunction(kind aggregate.Type, store FunctionStore) *Function {
	return &Function{Function: aggregate.NewFunction(kind, store), kind: kind, store: store}
}

// Tick makes partitions, then requests what is due of its bucket size, of the metric that it names or else of all, and carries out
// what is queued of that metric: a thousand ticks must not wait for each other's work. One that names none, or is a request of the
// scheduler, has what is queued of all metrics of its complexity carried out. It fails as [aggregate.Function.Tick] does.
func (f *Function) Tick(ctx context.Context, tick events.Tick, now time.Time) error {
	if err := f.Function.Tick(ctx, tick, now); err != nil {
		return err
	}
	size, err := bucket.ParseSize(tick.BucketSize)
	if err != nil {
		return err
	}
	name := f.kind.Definitions().Name
	if err := Request(ctx, f.store, name, tick.Metric, now, size); err != nil {
		return err
	}
	var queues []Queue
	if tick.Metric != "" {
		queues = append(queues, Queue{Size: size, Complexity: tick.Complexity, Metric: tick.Metric})
	}
	if tick.Metric == "" || tick.Requested {
		queues = append(queues, Queue{Size: size, Complexity: tick.Complexity})
	}
	done, err := Work(ctx, f.kind, f.store, queues, workTime, CodeVersion())
	if done > 0 {
		slog.InfoContext(ctx, "tick has carried out runs", "function", name, "bucket_size", size.String(), "runs", done)
	}
	return err
}

// CodeVersion names the commit that the program was built from, empty where it does not know.
func CodeVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			return setting.Value
		}
	}
	return ""
}
