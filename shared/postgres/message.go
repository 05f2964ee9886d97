package postgres

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

var (
	//go:embed sql/claim_group.sql
	claimGroup string
	//go:embed sql/form_message.sql
	formMessage string
	//go:embed sql/read_message.sql
	readMessage string
	//go:embed sql/settle_message.sql
	settleMessage string
)

// Message is notifications of one group that are sent together. As long as it is not settled it has the same ones, whoever claims it.
type Message struct {
	Group, Lease, Number int64
	Recipient, About     string
	Attempts             int               // that have failed
	Payloads             []json.RawMessage // CloudEvents, the oldest first
	Count                int               // of all, of which Payloads has the first
}

// Outcome is how an attempt to send a message has ended.
type Outcome struct {
	State MessageState
	Next  time.Duration // before the group's next message, or the next attempt
	Error string        // why it failed
}

// MessageState is what becomes of notifications.
type MessageState string

// The states. Of an event that nobody is told of they are silent.
const (
	MessageQueued MessageState = "queued" // another attempt follows
	MessageSent   MessageState = "sent"
	MessageFailed MessageState = "failed" // none does
)

// ClaimMessage gives one process the message of a channel that has waited longest, with at most so many of its notifications. It gives
// none where none is to be sent now. One that is not settled before its lease has run out is given to the next one.
func (s *Store) ClaimMessage(ctx context.Context, channel string, most int, lease time.Duration) (m Message, found bool, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, claimGroup, channel, lease).
			Scan(&m.Group, &m.Lease, &m.Number, &m.Attempts, &m.Recipient, &m.About)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, formMessage, m.Group, m.Number); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, readMessage, m.Group, m.Number, most)
		if err != nil {
			return err
		}
		var payload []byte
		_, err = pgx.ForEachRow(rows, []any{&payload, &m.Count}, func() error {
			m.Payloads = append(m.Payloads, append(json.RawMessage(nil), payload...))
			return nil
		})
		found = m.Count > 0
		return err
	})
	if err != nil {
		return Message{}, false, fmt.Errorf("claim message: %w", err)
	}
	return m, found, nil
}

// SettleMessage notes how sending a message has ended. Where its lease has run out that changes nothing.
func (s *Store) SettleMessage(ctx context.Context, m Message, outcome Outcome) error {
	_, err := s.pool.Exec(ctx, settleMessage, m.Group, m.Lease, m.Number, string(outcome.State), outcome.Next, storable(outcome.Error))
	if err != nil {
		return fmt.Errorf("settle message: %w", err)
	}
	return nil
}
