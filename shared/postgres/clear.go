package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
)

// ClearWindows takes finality from the windows of a metric's size from the one that contains a time to the last one that starts
// before another, and from those of its smaller sizes in them, on each of its chains, and queues runs of them all. It gives how many
// windows of the size that are.
func (s *Store) ClearWindows(
	ctx context.Context, m RegisteredMetric, size bucket.Size, from, to time.Time,
) (cleared int64, err error) {
	all := starts(size, from, to)
	if len(all) == 0 {
		return 0, nil
	}
	from, to = all[0], size.Window(all[len(all)-1]).End
	for _, part := range m.Definition.BucketSizes { // from small to large: what a window is made of before the window
		if part > size || part == bucket.Weekly && size == bucket.Monthly {
			continue
		}
		for _, chain := range m.Definition.Chains {
			for some := range slices.Chunk(starts(part, from, to), requestedAtOnce) {
				err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
					batch := &pgx.Batch{} // the definition before its windows, as in rebuilds
					batch.Queue("select from metric_registry where metric_id = $1 for share", m.ID)
					queueDependents(batch, queueAgain(batch, m.ID, part, chain, some, events.RevisedCleared))
					return tx.SendBatch(ctx, batch).Close()
				})
				if err != nil {
					return cleared, fmt.Errorf("clear %s windows of %s: %w", part, m.Definition.Name, err)
				}
				if part == size {
					cleared += int64(len(some))
				}
			}
		}
	}
	return cleared, nil
}
