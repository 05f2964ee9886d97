package postgres

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/shared/metric"
)

var (
	//go:embed sql/insert_groups.sql
	insertGroups string
	//go:embed sql/insert_notifications.sql
	insertNotifications string
	//go:embed sql/give_up_notifications.sql
	giveUpNotifications string
	//go:embed sql/forget_notifications.sql
	forgetNotifications string
	//go:embed sql/forget_groups.sql
	forgetGroups string
)

// Told is an event of which people are told.
type Told struct {
	Source, ID  string // of the CloudEvent: together they are unique, whatever is in them
	Destination string // of a dead letter; empty for other events
	Type        string
	Metric      string // empty where it names none
	Payload     json.RawMessage
	By          []Way
}

// Way is how an event is told to somebody, or why to nobody.
type Way struct {
	Channel, Recipient string
	About              string // events about the same are told together
	Silent             string // why nobody is told; empty where somebody is
}

// Alerting gives who is told of a metric: the defaults where there is none of that name. What a newer version has added to the
// definition does not matter, and where it has given a field another form the defaults hold: somebody is told.
func (s *Store) Alerting(ctx context.Context, name string) (metric.Alerting, error) {
	var alerting metric.Alerting
	var stored []byte
	err := s.pool.QueryRow(ctx, "select definition from metric_registry where name = $1 and deleted_at is null", name).Scan(&stored)
	if errors.Is(err, pgx.ErrNoRows) {
		return alerting, nil
	}
	if err != nil {
		return metric.Alerting{}, fmt.Errorf("read who is told of %s: %w", name, err)
	}
	if err := json.Unmarshal(stored, &alerting); err != nil {
		slog.WarnContext(ctx, "the default recipients are told: the definition is of another version", "metric", name, "error", err)
		return metric.Alerting{}, nil
	}
	return alerting, nil
}

// RecordNotifications queues what is to be told of an event, and tells whether it is new to anybody.
func (s *Store) RecordNotifications(ctx context.Context, told Told) (isNew bool, err error) {
	n := len(told.By)
	channels, recipients, abouts := make([]string, n), make([]string, n), make([]string, n)
	silent, reasons := make([]bool, n), make([]string, n)
	for i, way := range told.By {
		channels[i], recipients[i], abouts[i] = way.Channel, way.Recipient, key(way.About)
		silent[i], reasons[i] = way.Silent != "", way.Silent
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertGroups, channels, recipients, abouts, silent); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, insertNotifications, key(told.Source), key(told.ID), key(told.Destination),
			storable(told.Type), storable(told.Metric), strings.ToValidUTF8(string(told.Payload), "\uFFFD"), channels, recipients, abouts, silent, reasons)
		isNew = tag.RowsAffected() > 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("record notifications of %s %s: %w", told.Type, told.ID, err)
	}
	return isNew, nil
}

// GiveUpNotifications gives up those that are older than a time where their channel is none of those that there are, or where they were
// due so long ago that nobody has sent them since.
func (s *Store) GiveUpNotifications(ctx context.Context, channels []string, age, overdue time.Duration) (int64, error) {
	tag, err := s.pool.Exec(ctx, giveUpNotifications, channels, age, overdue)
	if err != nil {
		return 0, fmt.Errorf("give up notifications: %w", err)
	}
	return tag.RowsAffected(), nil
}

// ForgetNotifications deletes notifications that were sent, given up or told to nobody, once they are older than a time, at most so
// many, and gives their number. Where those were all, it deletes groups without notifications too.
func (s *Store) ForgetNotifications(ctx context.Context, age time.Duration, most int) (int64, error) {
	tag, err := s.pool.Exec(ctx, forgetNotifications, age, most)
	if err == nil && tag.RowsAffected() < int64(most) {
		_, err = s.pool.Exec(ctx, forgetGroups, age)
	}
	if err != nil {
		return 0, fmt.Errorf("forget notifications: %w", err)
	}
	return tag.RowsAffected(), nil
}
