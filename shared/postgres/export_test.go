package postgres

import (
	"context"

	"github.com/chainmetrics/chainmetrics/shared/aggregate"
)

// Settings gives what settings of the server are on a connection of the pool, by name, in the server's units. On a Unix
// socket those of TCP show zero; what they are reset to is what the connection has asked for.
func (s *Store) Settings(ctx context.Context) (map[string]string, error) {
	var settings map[string]string
	err := s.pool.QueryRow(ctx, `select jsonb_object_agg(lower(name),
		case when name like 'tcp%' then reset_val else current_setting(name) end) from pg_settings`).Scan(&settings)
	return settings, err
}

// FieldColumns gives the columns in which the fields of a query are read, as they stand in a statement with six arguments.
func FieldColumns(query aggregate.EventQuery) string {
	columns, _ := columnsOfFields(query).in("{fields}", make([]any, 6))
	return columns
}
