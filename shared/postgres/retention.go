package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/shared/archive"
)

//go:embed sql/list_months.sql
var listMonths string

// ExpireArchive drops the months of the archive that ended so long ago, by both clocks: one of them may be far off. Before that it
// raises the floor of every stream's archive to that month's end, so that nothing computes windows from what is going. Cut short,
// it goes on when it is called again. While the archive has a stream that is not registered, and so has no floor, it drops nothing,
// and fails.
func (s *Store) ExpireArchive(ctx context.Context, now time.Time, ago time.Duration) error {
	const floorless = `select coalesce(string_agg(w.stream, ', ' order by w.stream), '') from stream_watermarks w
		where w.function = $1 and w.entry_id <> '0-0' and not exists (select from streams s where s.name = w.stream)`
	var streams string
	if err := s.pool.QueryRow(ctx, floorless, archive.Name).Scan(&streams); err != nil {
		return fmt.Errorf("find streams that have no floor: %w", err)
	}
	if streams != "" {
		return fmt.Errorf("expire the archive: streams that are not registered are in it (chainmetrics stream create): %s", streams)
	}
	var before time.Time
	if err := s.pool.QueryRow(ctx, "select least($1, clock_timestamp()) - $2::interval", now, ago).Scan(&before); err != nil {
		return fmt.Errorf("tell the time: %w", err)
	}
	for _, table := range []string{chainEvents, archivedEntries} {
		if err := s.expire(ctx, table, before); err != nil {
			return fmt.Errorf("expire %s before %s: %w", table, before.UTC().Format(time.DateOnly), err)
		}
	}
	return nil
}

func (s *Store) expire(ctx context.Context, table string, before time.Time) error {
	type partition struct {
		Name     string
		Attached bool // otherwise its dropping was cut short
		Pending  bool // its detaching was
	}
	rows, err := s.pool.Query(ctx, listMonths, table)
	if err != nil {
		return err
	}
	partitions, err := pgx.CollectRows(rows, pgx.RowToStructByPos[partition])
	if err != nil {
		return err
	}
	for _, p := range partitions {
		start, err := time.Parse("2006_01", strings.TrimPrefix(p.Name, table+"_"))
		if err != nil {
			continue // what was before 2009
		}
		end := month{start: start}.next().start
		if end.After(before) {
			continue
		}
		const raise = "update streams set archive_floor = $1 where archive_floor < $1"
		if _, err := s.pool.Exec(ctx, raise, end); err != nil {
			return err
		}
		name := pgx.Identifier{p.Name}.Sanitize()
		statements := []string{"drop table " + name}
		switch {
		case p.Pending:
			statements = append([]string{"alter table " + table + " detach partition " + name + " finalize"}, statements...)
		case p.Attached:
			statements = append([]string{"alter table " + table + " detach partition " + name + " concurrently"}, statements...)
		}
		for _, statement := range statements {
			if _, err := s.pool.Exec(ctx, statement); err != nil {
				return fmt.Errorf("%s: %w", statement, err)
			}
		}
	}
	s.months.forget()
	const forget = "delete from imported_entries i using streams s where s.name = i.stream and i.entry_time < s.archive_floor"
	_, err = s.pool.Exec(ctx, forget)
	return err
}
