package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

const statusHelp = `Show the streams, how far the functions have applied them, and what a person should look at: losses,
functions that are late, reverts that wait for history, entries that cannot be read, metrics that
fail for some events, runs that have failed, windows that a check keeps from being final, notices
that nobody takes, mails and webhooks that could not be sent, accepted holes, blocks that the archive lacks, paused metrics. A function is late where an entry that it has not applied was
appended longer ago than --late says.

The exit status is 0 also where something is wrong; with --check it is then 1. Accepted holes,
missing blocks and paused metrics are nothing wrong, nor are notices and notifications that have
waited for less than ten minutes.

Output: "table" is for people and may change. "json" is an object with streams, functions,
dead_letters, metric_errors, pending_reverts, failed_runs, blocked, notices, notifications, holes,
missing_blocks, paused, ok. Ids are strings as Redis writes them, times RFC 3339, ages in seconds. A function's lag is the number of entries that
it has not applied, estimated in an open stream, and null after a loss; late says whether it is
late; away why it need not go on from where it is, for one that is detached or that the archive
moves.`

// errTrouble says that status has found something to look at.
var errTrouble = errors.New("something is wrong")

func (a *app) statusCommand() *cobra.Command {
	var (
		output string
		check  bool
		late   time.Duration
	)
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show what is late, what failed, what is lost",
		Long:    statusHelp,
		Example: "  chainmetrics status\n  chainmetrics status --check --output json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.readStatus(cmd.Context(), late)
			if err != nil {
				return err
			}
			if output == outputJSON {
				err = writeJSON(a.out, s)
			} else {
				err = s.write(a.out, a)
			}
			if err == nil && check && !s.OK {
				err = advise(errTrouble, "see what and what to do: %s", a.command("status"))
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "exit 1 where something is wrong")
	cmd.Flags().DurationVar(&late, "late", time.Minute, "`age` of an entry not applied from which a function is late")
	outputFlag(cmd, &output, outputTable, outputJSON)
	return cmd
}

// status is the state of a system; its JSON form is what the command's help says.
type status struct {
	OK             bool               `json:"ok"`
	Streams        []streamStatus     `json:"streams"`
	Functions      []functionStatus   `json:"functions"`
	DeadLetters    int64              `json:"dead_letters"`
	MetricErrors   []metricStatus     `json:"metric_errors"`
	PendingReverts []revertStatus     `json:"pending_reverts"`
	FailedRuns     []failedStatus     `json:"failed_runs"`
	Blocked        []blockedStatus    `json:"blocked"`
	Notices        noticeStatus       `json:"notices"`
	Notifications  notificationStatus `json:"notifications"`
	Holes          []holeStatus       `json:"holes"`
	MissingBlocks  []missingStatus    `json:"missing_blocks"`
	Paused         []pausedStatus     `json:"paused"`
}

type streamStatus struct {
	Name   string    `json:"name"`
	Mode   string    `json:"mode,omitempty"`  // empty: not registered yet
	Chain  string    `json:"chain,omitempty"` // of a feed
	Exists bool      `json:"exists"`
	Length int64     `json:"length"`
	First  events.ID `json:"first"`
	Last   events.ID `json:"last"`
	Bytes  int64     `json:"bytes"`
}

func (a *app) readStatus(ctx context.Context, late time.Duration) (*status, error) {
	store, err := a.openStore(ctx)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	client, err := a.openRedis(ctx)
	if err != nil {
		return nil, err
	}
	s, err := gatherStatus(ctx, store, client, a.now(), late)
	return s, errors.Join(err, client.Close())
}

func gatherStatus(ctx context.Context, store *postgres.Store, client *redisstream.Client, now time.Time,
	late time.Duration,
) (*status, error) {
	s := &status{Functions: []functionStatus{}, Paused: []pausedStatus{}}
	infos, err := s.readStreams(ctx, store, client)
	if err != nil {
		return nil, err
	}
	marks, err := store.Marks(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("read watermarks: %w", err)
	}
	for _, mark := range marks {
		var mode string
		for _, stream := range s.Streams {
			if stream.Name == mark.Stream {
				mode = stream.Mode
			}
		}
		function, err := readFunction(ctx, client, mark, infos[mark.Stream], now, mode == postgres.ModeFeed)
		if err != nil {
			return nil, err
		}
		if function.Loss != "" {
			left, err := leftToArchive(ctx, client, mode, of(marks, mark.Stream))
			if err != nil {
				return nil, err
			}
			function.heals = slices.ContainsFunc(left, func(f postgres.FunctionMark) bool { return f.Function == mark.Function })
		}
		function.Late = function.isLate(late)
		s.Functions = append(s.Functions, function)
	}
	s.findHolding()
	troubles, err := store.Troubles(ctx)
	if err != nil {
		return nil, err
	}
	s.take(troubles, now)
	metrics, err := store.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range metrics {
		if m.PausedAt != nil {
			s.Paused = append(s.Paused, pausedStatus{m.Definition.Name, m.PausedAt.UTC()})
		}
	}
	s.OK = s.DeadLetters == 0 && len(s.MetricErrors) == 0 && len(s.PendingReverts) == 0 &&
		len(s.FailedRuns) == 0 && len(s.Blocked) == 0 && s.Notices.GivenUp == 0 && s.Notices.stuck == 0 &&
		s.Notifications.GivenUp == 0 && s.Notifications.stuck == 0 &&
		!slices.ContainsFunc(s.Functions, func(f functionStatus) bool { return f.Loss != "" || f.Late })
	return s, nil
}

// of gives the functions of a stream.
func of(functions []postgres.FunctionMark, stream string) []postgres.FunctionMark {
	return slices.DeleteFunc(slices.Clone(functions), func(f postgres.FunctionMark) bool { return f.Stream != stream })
}

// readStreams reads the streams that are registered or announced, and what Redis has of them.
func (s *status) readStreams(ctx context.Context, store *postgres.Store, client *redisstream.Client) (
	infos map[string]redisstream.Info, err error,
) {
	registered, err := store.Streams(ctx)
	if err != nil {
		return nil, err
	}
	announced, err := client.Streams(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range announced {
		if !slices.ContainsFunc(registered, func(r postgres.Stream) bool { return r.Name == name }) {
			registered = append(registered, postgres.Stream{Name: name})
		}
	}
	slices.SortFunc(registered, func(a, b postgres.Stream) int { return strings.Compare(a.Name, b.Name) })
	infos = make(map[string]redisstream.Info, len(registered))
	s.Streams = make([]streamStatus, len(registered))
	for i, stream := range registered {
		info, err := client.Info(ctx, stream.Name)
		if err != nil {
			return nil, err
		}
		bytes, err := client.Bytes(ctx, stream.Name)
		if err != nil {
			return nil, err
		}
		infos[stream.Name] = info
		s.Streams[i] = streamStatus{
			Name: stream.Name, Mode: stream.Mode, Chain: stream.Chain,
			Exists: info.Exists, Length: info.Length, First: info.First, Last: info.Last, Bytes: bytes,
		}
	}
	return infos, nil
}
