package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

func (a *app) deadLetterCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "dead-letter",
		Short: "See entries that could not be read",
		Long: `See entries that could not be read. They are in no bucket; everything around them is applied.

An entry becomes a dead letter where it has no readable type, chain or time, is broken JSON, is beyond a bound, or holds
events of a type that belongs to another stream. The reason says which.`,
		Example: "  chainmetrics dead-letter list\n  chainmetrics dead-letter show blockchain_events 1700000000000-0",
	})
	cmd.AddCommand(a.deadLetterListCommand(), a.deadLetterShowCommand())
	return cmd
}

func (a *app) deadLetterListCommand() *cobra.Command {
	var (
		output, stream string
		most           int
	)
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the newest dead letters",
		Example: "  chainmetrics dead-letter list --stream blockchain_events --limit 1000 --output json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if most < 1 {
				return usage(cmd, "--limit %d: at least 1 is expected", most)
			}
			store, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer store.Close()
			letters, err := store.DeadLetters(cmd.Context(), stream, most)
			if err != nil {
				return err
			}
			if output == outputJSON {
				return writeJSON(a.out, shownLetters(letters))
			}
			return a.listDeadLetters(letters)
		},
	}
	cmd.Flags().StringVar(&stream, "stream", "", "only those of this stream, by `name`")
	cmd.Flags().IntVar(&most, "limit", 100, "at most this `number`")
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("stream", a.completeStreams))
	outputFlag(cmd, &output, outputTable, outputJSON)
	return cmd
}

// shownLetter is the JSON form of a dead letter.
type shownLetter struct {
	Stream     string          `json:"stream"`
	ID         events.ID       `json:"id"`
	Reason     string          `json:"reason"`
	Bytes      int64           `json:"bytes"`
	RecordedAt time.Time       `json:"recorded_at"`
	Content    json.RawMessage `json:"content,omitempty"`
}

func shownLetters(letters []postgres.DeadLetter) []shownLetter {
	shown := make([]shownLetter, len(letters))
	for i, l := range letters {
		shown[i] = shownLetter{Stream: l.Stream, ID: l.ID, Reason: l.Reason, Bytes: l.Bytes, RecordedAt: l.RecordedAt.UTC()}
		if json.Valid(l.Content) {
			shown[i].Content = l.Content
		}
	}
	return shown
}

func (a *app) listDeadLetters(letters []postgres.DeadLetter) error {
	if len(letters) == 0 {
		_, err := fmt.Fprintln(a.errors, "no dead letters: every entry could be read")
		return err
	}
	t := &table{columns: []column{
		{name: "stream"}, {name: "entry", right: true}, {name: "recorded"}, {name: "size", right: true}, {name: "reason"},
	}}
	for _, l := range letters {
		t.add(printable(l.Stream), l.ID.String(), l.RecordedAt.UTC().Format(time.DateTime), byteSize(l.Bytes), printable(l.Reason))
	}
	return t.write(a.out, styleOf(a.out), "")
}

func (a *app) deadLetterShowCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:     "show STREAM ENTRY",
		Short:   "Show a dead letter with its fields",
		Example: "  chainmetrics dead-letter show blockchain_events 1700000000000-0",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage(cmd, "STREAM and ENTRY are expected")
			}
			return nil
		},
		ValidArgsFunction: a.completeStreams,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := events.ParseID(args[1])
			if err != nil {
				return usage(cmd, "ENTRY is the id of an entry, such as 1700000000000-0: %w", err)
			}
			store, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer store.Close()
			letter, err := store.DeadLetter(cmd.Context(), args[0], id)
			if errors.Is(err, postgres.ErrNoDeadLetter) {
				return advise(err, "see which there are: %s", a.command("dead-letter", "list"))
			}
			if err != nil {
				return err
			}
			if output == outputJSON {
				return writeJSON(a.out, shownLetters([]postgres.DeadLetter{letter})[0])
			}
			_, err = io.WriteString(a.out, letterText(letter))
			return err
		},
	}
	outputFlag(cmd, &output, outputTable, outputJSON)
	return cmd
}

// letterText shows a dead letter to people: the fields of an entry that could not be read, or the data of one that could.
func letterText(l postgres.DeadLetter) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s of %s, recorded %s\n", l.ID, printable(l.Stream), l.RecordedAt.UTC().Format(time.DateTime))
	fmt.Fprintf(&text, "%s\n\n", printable(l.Reason))
	var raw struct {
		Fields  [][2][]byte `json:"fields"`
		LeftOut int         `json:"left_out"`
	}
	if err := json.Unmarshal(l.Content, &raw); err != nil || raw.Fields == nil {
		fmt.Fprintf(&text, "%s\n", shortened(l.Content))
		return text.String()
	}
	t := &table{columns: []column{{name: "field"}, {name: "value"}}}
	for _, f := range raw.Fields {
		t.add(shortened(f[0]), shortened(f[1]))
	}
	_ = t.write(&text, false, "") // into memory
	if raw.LeftOut > 0 {
		fmt.Fprintf(&text, "and %s that were left out\n", byteSize(int64(raw.LeftOut)))
	}
	return text.String()
}

// shortened gives the beginning of content as it can be shown.
func shortened(content []byte) string {
	const most = 200 // characters
	text := string(content)
	if utf8.RuneCountInString(text) > most {
		text = string([]rune(text)[:most]) + "…"
	}
	return printable(strings.ToValidUTF8(text, "\uFFFD"))
}
