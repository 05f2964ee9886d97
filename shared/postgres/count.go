package postgres

import (
	"context"
	"fmt"
)

// CountBuckets counts the buckets of all metrics and sizes, up to a bound, so that the time it takes is bounded as well.
func (s *Store) CountBuckets(ctx context.Context, most int64) (int64, error) {
	var count int64
	const query = "select count(*) from (select from metrics_data limit $1) bounded"
	if err := s.pool.QueryRow(ctx, query, most).Scan(&count); err != nil {
		return 0, fmt.Errorf("count buckets: %w", err)
	}
	return count, nil
}
