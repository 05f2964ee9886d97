package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// errNothingToAccept says that a stream has no loss that could be accepted.
var errNothingToAccept = errors.New("nothing to accept")

func (a *app) streamCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:     "stream",
		Short:   "Look after streams",
		Example: "  chainmetrics stream list\n  chainmetrics stream accept blockchain_events:bitcoin",
	})
	cmd.AddCommand(a.streamListCommand(), a.streamShowCommand(), a.streamCreateCommand(), a.streamAcceptCommand())
	return cmd
}

func (a *app) streamAcceptCommand() *cobra.Command {
	var (
		yes    bool
		reason string
	)
	cmd := &cobra.Command{
		Use:   "accept NAME",
		Short: "Accept that entries of a stream are lost",
		Long: `Accept that entries of a stream are lost, so that the functions go on behind the loss.

Entries that were trimmed, deleted or rolled back before a function applied them stop that function. A feed that still
has them heals the stream by itself, and so does the archive an open stream; this command is for when they cannot. It
shows what is lost, asks, and records it for good: the buckets lack what the lost entries held. "chainmetrics status"
goes on showing it.`,
		Example: `  chainmetrics stream accept blockchain_events:bitcoin
  chainmetrics stream accept blockchain_events:bitcoin --yes --reason "disk of redis-0 failed, INC-12"`,
		Args:              oneArg("NAME"),
		ValidArgsFunction: a.completeStreams,
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" {
				return usage(cmd, "--reason is empty: say why the entries are lost")
			}
			return a.acceptLosses(cmd.Context(), args[0], reason, yes)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().StringVar(&reason, "reason", "accepted by operator", "why, for whoever looks at it later")
	return cmd
}

// loss is what a function will never see of a stream.
type loss struct {
	function string
	mark     watermark.Mark
	holes    []watermark.Hole
}

func (a *app) acceptLosses(ctx context.Context, stream, reason string, yes bool) error {
	store, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	client, err := a.openRedis(ctx)
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // only read
	losses, err := a.lossesOf(ctx, store, client, stream)
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, l := range losses {
		for _, hole := range l.holes {
			text.WriteString(holeText(l, hole) + "\n")
		}
	}
	if _, err := io.WriteString(a.out, text.String()); err != nil {
		return err
	}
	if err := a.confirm("Accept this? The buckets will lack what these entries held.", yes); err != nil {
		return err
	}
	for _, l := range losses {
		err := store.AcceptHoles(ctx, l.function, stream, l.mark, l.holes, reason)
		if errors.Is(err, postgres.ErrMoved) {
			return advise(err, "the function has gone on meanwhile: look at %s", a.command("status"))
		}
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(a.out, "accepted for %s, which goes on behind it\n", l.function); err != nil {
			return err
		}
	}
	return nil
}

// lossesOf finds what the functions have lost of a stream; at least one loss.
func (a *app) lossesOf(ctx context.Context, store *postgres.Store, client *redisstream.Client, stream string) ([]loss, error) {
	marks, _, err := readers(ctx, client, store, stream)
	if err != nil {
		return nil, err
	}
	if len(marks) == 0 {
		return nil, advise(fmt.Errorf("%w: no function reads a stream %q", errNothingToAccept, stream),
			"see the streams with: %s", a.command("status"))
	}
	losses, err := a.findHoles(ctx, client, stream, marks)
	if err != nil || len(losses) > 0 {
		if err := a.leaveToArchive(ctx, store, client, stream); err != nil {
			return nil, err
		}
	}
	return losses, err
}

// leaveToArchive fails where the archive's next tick has every function go on: what a person accepts is lost to the archive too.
func (a *app) leaveToArchive(ctx context.Context, store *postgres.Store, client *redisstream.Client, stream string) error {
	functions, err := store.Marks(ctx, stream)
	if err != nil {
		return err
	}
	streams, err := store.Streams(ctx)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(streams, func(s postgres.Stream) bool { return s.Name == stream })
	if at < 0 {
		return nil
	}
	left, err := leftToArchive(ctx, client, streams[at].Mode, functions)
	if err != nil {
		return err
	}
	lost := false
	for _, f := range functions {
		reason, err := client.Loss(ctx, stream, f.Mark)
		if err != nil {
			return err
		}
		if reason == "" || f.DetachedAt != nil {
			continue
		}
		if !slices.ContainsFunc(left, func(l postgres.FunctionMark) bool { return l.Function == f.Function }) {
			return nil
		}
		lost = true
	}
	if !lost {
		return nil
	}
	return advise(fmt.Errorf("%w: the archive heals %s at its next tick", errNothingToAccept, stream),
		"if there is no archive any more: %s", a.command("function", "detach", archive.Name))
}

// findHoles finds what functions have lost of a stream; at least one loss.
func (a *app) findHoles(
	ctx context.Context, client *redisstream.Client, stream string, marks []postgres.FunctionMark,
) ([]loss, error) {
	var losses []loss
	for _, mark := range marks {
		holes, err := client.Holes(ctx, stream, mark.Mark)
		if err != nil {
			return nil, advise(err, "once something was appended, accept again: what is recorded names the entry that may follow")
		}
		if len(holes) == 0 {
			continue
		}
		losses = append(losses, loss{function: mark.Function, mark: mark.Mark, holes: holes})
	}
	if len(losses) == 0 {
		return nil, fmt.Errorf("%w: every function can go on in %s", errNothingToAccept, stream)
	}
	return losses, nil
}

// holeText tells what is lost, with the number of entries where the ids tell it. Elsewhere Redis tells only how many
// entries the stream has lost in all, and where the last one lay.
func holeText(l loss, hole watermark.Hole) string {
	lost, known := lostEntries(hole)
	switch {
	case !known:
		return fmt.Sprintf("%s loses an unknown number of entries between %s and %s: %s removed from the stream in all, "+
			"others perhaps at unknown places",
			l.function, hole.After, hole.Next, plural(int(hole.Removed), "entry was", "entries were"))
	case lost == 0 && hole.After == l.mark.ID:
		return fmt.Sprintf("%s loses nothing: %s, which it has applied, has gone", l.function, hole.After)
	case lost == 0:
		return fmt.Sprintf("%s loses nothing between %s and %s, which do not belong together", l.function, hole.After, hole.Next)
	}
	count := plural(int(lost), "entry", "entries") //nolint:gosec // heights
	return fmt.Sprintf("%s loses %s between %s and %s", l.function, count, hole.After, hole.Next)
}

// lostEntries gives the number of entries in a hole, which only the ids of a feed without reorganisation tell.
func lostEntries(hole watermark.Hole) (uint64, bool) {
	if hole.After.Major != 0 || hole.Next.Major != 0 || hole.Next.Compare(events.ID{}) == 0 {
		return 0, false
	}
	return hole.Next.Minor - hole.After.Minor - 1, true
}
