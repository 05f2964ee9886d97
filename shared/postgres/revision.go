package postgres

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

//go:embed sql/list_revisions.sql
var listRevisions string

// RevisionQuery says which revisions are wanted. What is empty is any.
type RevisionQuery struct {
	Metric, Size, Reason string
	From, To             time.Time // of the starts of windows: at or after From, before To; zero leaves a side open
	Most                 int
}

// Revision is a change of what a bucket showed, from the first time on that its window was final.
type Revision struct {
	ID                  int64
	Metric, Size, Chain string
	Start               time.Time
	Dimensions          map[string]string
	Reason              string
	Run                 *int64          // that has made it; nil: the stream has
	Old, New            *string         // values; nil: there was no bucket, or there is none any more
	OldDetail           json.RawMessage // JSON objects, or nil
	NewDetail           json.RawMessage
	At                  time.Time
}

// Revisions lists revisions, the newest first.
func (s *Store) Revisions(ctx context.Context, query RevisionQuery) ([]Revision, error) {
	from, to := openRange(query.From, query.To)
	rows, err := s.pool.Query(ctx, listRevisions, query.Metric, query.Size, query.Reason, from, to, query.Most)
	if err != nil {
		return nil, fmt.Errorf("list revisions: %w", err)
	}
	revisions, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Revision])
	if err != nil {
		return nil, fmt.Errorf("list revisions: %w", err)
	}
	return revisions, nil
}
