package runner

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/annotation"
	"github.com/chainmetrics/chainmetrics/shared/span"
)

// ids names the runs of a claim: one as itself, more as the lowest and the highest id, between which others may lie.
func (c Claim) ids() string {
	if len(c.Runs) == 0 {
		return "none"
	}
	first, last := slices.Min(c.Runs), slices.Max(c.Runs)
	if first == last {
		return strconv.FormatInt(first, 10)
	}
	return strconv.FormatInt(first, 10) + "-" + strconv.FormatInt(last, 10)
}

// begin gives a context in which a claim is carried out: in a span, and each line that is logged with it names the runs. What came
// of them is told to done.
func begin(ctx context.Context, claim Claim) (within context.Context, done func(State, aggregate.Outcome, error)) {
	about := claim.Span
	ctx, s := span.Start(ctx, "run "+about.Size.String())
	s.Set(func() []attribute.KeyValue {
		return []attribute.KeyValue{
			attribute.String("chainmetrics.metric", claim.Name), attribute.String("chainmetrics.bucket_size", about.Size.String()),
			attribute.String("chainmetrics.chain", about.Chain), attribute.String("chainmetrics.from", about.From.UTC().Format(time.RFC3339)),
			attribute.String("chainmetrics.to", about.To.UTC().Format(time.RFC3339)), attribute.String("chainmetrics.run_id", claim.ids()),
			attribute.Int("chainmetrics.runs", len(claim.Runs)), attribute.Int64("chainmetrics.lease", about.Lease),
			attribute.Int("chainmetrics.attempt", claim.Attempt),
		}
	})
	ctx = annotation.With(ctx, slog.String("run_id", claim.ids()), slog.Int64("lease", about.Lease), slog.String("metric", claim.Name),
		slog.String("bucket_size", about.Size.String()), slog.String("chain", about.Chain), slog.Time("from", about.From),
		slog.Time("to", about.To), slog.Int("attempt", claim.Attempt))
	return ctx, func(state State, outcome aggregate.Outcome, err error) {
		s.Set(func() []attribute.KeyValue {
			return []attribute.KeyValue{
				attribute.String("chainmetrics.outcome", string(state)), attribute.Int64("chainmetrics.events", outcome.Events),
				attribute.Int("chainmetrics.buckets", outcome.Buckets), attribute.Int("chainmetrics.changes", len(outcome.Changes)),
			}
		})
		s.Done(err)
	}
}
