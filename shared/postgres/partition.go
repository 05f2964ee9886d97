package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
)

//go:embed sql/list_partitions.sql
var listPartitions string

// partitionLead is how far ahead of the windows that are written their partitions are made.
const partitionLead = 24 * time.Hour

// clockEnd is where a clock is taken for wrong: the database would make partitions for any year that it says.
var clockEnd = time.Date(2100, time.January, 1, 0, 0, 0, 0, time.UTC)

// partition is one of the tables that hold the buckets of a size. Its windows start at or after start and before end. The
// ranges are wide enough that history makes some hundreds of them, and narrow enough that one can be dropped or moved:
// a month of minutes, a year of hours, a decade of days or more.
type partition struct {
	size  bucket.Size
	start time.Time
}

// partitionOf gives the partition of the windows of a size that start at t, in UTC.
func partitionOf(size bucket.Size, t time.Time) partition {
	year, month := t.Year(), time.January
	switch size {
	case bucket.Minutely:
		month = t.Month()
	case bucket.TenMinutely, bucket.Hourly:
	case bucket.Daily, bucket.Weekly, bucket.Monthly:
		year -= year % 10
	}
	return partition{size: size, start: time.Date(year, month, 1, 0, 0, 0, 0, time.UTC)}
}

func (p partition) end() time.Time {
	switch p.size {
	case bucket.Minutely:
		return p.start.AddDate(0, 1, 0)
	case bucket.TenMinutely, bucket.Hourly:
		return p.start.AddDate(1, 0, 0)
	case bucket.Daily, bucket.Weekly, bucket.Monthly:
		return p.start.AddDate(10, 0, 0)
	}
	panic(fmt.Sprintf("postgres: %s is no bucket size", p.size))
}

func (p partition) next() partition { return partition{size: p.size, start: p.end()} }

// parent is the table of all buckets of the size.
func (p partition) parent() string {
	return "metrics_data_" + strings.ReplaceAll(p.size.String(), "-", "_")
}

func (p partition) name() string {
	switch p.size {
	case bucket.Minutely:
		return p.parent() + p.start.Format("_2006_01")
	case bucket.TenMinutely, bucket.Hourly:
		return p.parent() + p.start.Format("_2006")
	case bucket.Daily, bucket.Weekly, bucket.Monthly:
		return p.parent() + p.start.Format("_2006s")
	}
	panic(fmt.Sprintf("postgres: %s is no bucket size", p.size))
}

// in puts the name of the partition into a statement about one table.
func (p partition) in(statement string) string { return inTable(statement, p.name()) }

func inTable(statement, name string) string {
	return strings.ReplaceAll(statement, "{table}", pgx.Identifier{name}.Sanitize())
}

// remembered are the partitions of a kind that exist. Nothing but a person removes one, so that the memory may outlive many
// commits.
type remembered[P interface {
	comparable
	name() string
}] struct {
	mu    sync.Mutex
	known map[P]struct{}
}

func (p *remembered[P]) lacking(needed map[P]struct{}) []P {
	p.mu.Lock()
	defer p.mu.Unlock()
	var missing []P
	for candidate := range needed {
		if _, ok := p.known[candidate]; !ok {
			missing = append(missing, candidate)
		}
	}
	slices.SortFunc(missing, func(a, b P) int { return strings.Compare(a.name(), b.name()) })
	return missing
}

func (p *remembered[P]) learn(existing P) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil {
		p.known = make(map[P]struct{})
	}
	p.known[existing] = struct{}{}
}

func (p *remembered[P]) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.known)
}

// makePartitions makes the partitions that the keys need, and soon will need, each in a transaction of its own. It must
// run before the transaction that writes, since a transaction that waits to attach a table would hold the stream.
//
// Those that somebody else has made go through the same lock: a partition can be seen in the catalog a moment before the
// server has told all its sessions of it, and until then they refuse its rows.
func (s *Store) makePartitions(ctx context.Context, groups map[partition][]bucket.Key) error {
	needed := make(map[partition]struct{}, len(groups))
	for p, keys := range groups {
		needed[p] = struct{}{}
		for _, key := range keys {
			needed[partitionOf(key.Size, key.Start.Add(partitionLead))] = struct{}{}
		}
	}
	for _, p := range s.partitions.lacking(needed) {
		if err := s.addPartition(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// RenewPartitions makes the partition of the window of a size that contains now, and the one after it. It asks the
// database whatever it remembers, so that a partition that somebody removed comes back.
func (s *Store) RenewPartitions(ctx context.Context, size bucket.Size, now time.Time) error {
	if err := checkClock(now); err != nil {
		return fmt.Errorf("renew %s partitions: %w", size, err)
	}
	current := partitionOf(size, size.Window(now).Start)
	for _, p := range []partition{current, current.next()} {
		if err := s.addPartition(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func checkClock(now time.Time) error {
	if !events.Bucketed(now) || !now.Before(clockEnd) {
		return fmt.Errorf("the clock is wrong: %s", now.UTC().Format(time.RFC3339))
	}
	return nil
}

// addPartition makes the partition, unless it is there, in a transaction of its own.
func (s *Store) addPartition(ctx context.Context, p partition) error {
	const add = "select add_metrics_data_partition($1, $2, $3, $4, $5)"
	if _, err := s.pool.Exec(ctx, add, p.size.String(), p.parent(), p.name(), p.start, p.end()); err != nil {
		return fmt.Errorf("add partition %s: %w", p.name(), err)
	}
	s.partitions.learn(p)
	return nil
}

// listPartitions gives the names of the tables that hold buckets.
func (s *Store) listPartitions(ctx context.Context) ([]string, error) {
	rows, err := s.pool.Query(ctx, listPartitions)
	if err != nil {
		return nil, fmt.Errorf("list partitions: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list partitions: %w", err)
	}
	return names, nil
}
