package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

const statusHelp = `Show the streams, how far the functions have applied them, and what a person should look at: losses, functions that are
late, reverts that wait for history, entries that cannot be read, metrics that fail for some events, accepted holes, blocks that
the archive lacks, paused metrics. A function is late where an entry that it has not applied was appended longer ago than --late says.

The exit status is 0 also where something is wrong; with --check it is then 1. Accepted holes, missing blocks and paused
metrics are nothing wrong.

Output: "table" is for people and may change. "json" is an object with streams, functions, dead_letters, metric_errors,
pending_reverts, holes, missing_blocks, paused, ok. Ids are strings as Redis writes them, times RFC 3339, ages in seconds. A
function's lag is the number of entries that it has not applied, estimated in an open stream, and null after a loss; late says whether it is late;
away why it need not go on from where it is, for one that is detached or that the archive moves on.`

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
	OK             bool             `json:"ok"`
	Streams        []streamStatus   `json:"streams"`
	Functions      []functionStatus `json:"functions"`
	DeadLetters    int64            `json:"dead_letters"`
	MetricErrors   []metricStatus   `json:"metric_errors"`
	PendingReverts []revertStatus   `json:"pending_reverts"`
	Holes          []holeStatus     `json:"holes"`
	MissingBlocks  []missingStatus  `json:"missing_blocks"`
	Paused         []pausedStatus   `json:"paused"`
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

type functionStatus struct {
	Function  string    `json:"function"`
	Stream    string    `json:"stream"`
	Watermark events.ID `json:"watermark"`
	MovedAt   time.Time `json:"moved_at"`
	Lag       *int64    `json:"lag"`                  // entries
	OldestAge *float64  `json:"oldest_age,omitempty"` // seconds since the append of the oldest entry not applied
	Late      bool      `json:"late"`                 // OldestAge is above what --late says
	Loss      string    `json:"loss,omitempty"`       // why the function cannot go on
	Away      string    `json:"away,omitempty"`       // why it need not go on from where it is

	acceptable bool // an entry follows the loss, so that the loss can be accepted
	holds      bool // the archive and every other function that is not away have come further
}

type metricStatus struct {
	Metric   string    `json:"metric"`
	Stream   string    `json:"stream"`
	Reason   string    `json:"reason"`
	Count    int64     `json:"count"`
	Sample   events.ID `json:"sample"`
	LastSeen time.Time `json:"last_seen"`
}

type revertStatus struct {
	Function   string    `json:"function"`
	Stream     string    `json:"stream"`
	ID         events.ID `json:"id"`
	Ancestor   events.ID `json:"ancestor"`
	Number     uint64    `json:"number"`
	RecordedAt time.Time `json:"recorded_at"`
}

type holeStatus struct {
	Function   string     `json:"function"`
	Stream     string     `json:"stream"`
	After      events.ID  `json:"after"`
	Next       events.ID  `json:"next"`
	Reason     string     `json:"reason"`
	AcceptedAt time.Time  `json:"accepted_at"`
	ImportedAt *time.Time `json:"imported_at,omitempty"`
}

type missingStatus struct {
	Stream string `json:"stream"`
	Chain  string `json:"chain"`
	Holes  int64  `json:"holes"`
	Blocks int64  `json:"blocks"`
}

type pausedStatus struct {
	Metric   string    `json:"metric"`
	PausedAt time.Time `json:"paused_at"`
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
		fed := slices.ContainsFunc(s.Streams, func(s streamStatus) bool {
			return s.Name == mark.Stream && s.Mode == postgres.ModeFeed
		})
		function, err := readFunction(ctx, client, mark, infos[mark.Stream], now, fed)
		if err != nil {
			return nil, err
		}
		function.Late = function.isLate(late)
		s.Functions = append(s.Functions, function)
	}
	s.findHolding()
	troubles, err := store.Troubles(ctx)
	if err != nil {
		return nil, err
	}
	s.take(troubles)
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
		!slices.ContainsFunc(s.Functions, func(f functionStatus) bool { return f.Loss != "" || f.Late })
	return s, nil
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

func readFunction(ctx context.Context, client *redisstream.Client, mark postgres.FunctionMark, info redisstream.Info,
	now time.Time, fed bool,
) (functionStatus, error) {
	f := functionStatus{
		Function: mark.Function, Stream: mark.Stream, Watermark: mark.Mark.ID, MovedAt: mark.UpdatedAt.UTC(),
	}
	switch passed := info.Passed(mark.Mark.ID); {
	case mark.DetachedAt != nil:
		f.Away = "detached since " + mark.DetachedAt.UTC().Format(time.DateTime)
	case mark.Covered && passed:
		f.Away = "the archive moves it on at its next tick"
	}
	if f.Away != "" {
		return f, nil
	}
	err := client.Check(ctx, mark.Stream, mark.Mark)
	if loss, ok := errors.AsType[*redisstream.LossError](err); ok {
		f.Loss = loss.Reason
		f.acceptable = info.LastEntry.Compare(mark.Mark.ID) > 0 && info.LastEntry.Compare(info.MaxDeleted) > 0
		return f, nil
	}
	if err != nil {
		return f, err
	}
	lag := info.Behind(mark.Mark.ID)
	f.Lag = &lag
	oldest, found, err := appendTime(ctx, client, mark, fed)
	if err != nil {
		return f, err
	}
	if found {
		age := max(0, now.Sub(oldest).Seconds())
		f.OldestAge = &age
	}
	return f, nil
}

// findHolding finds the function that alone keeps each stream from being trimmed further.
func (s *status) findHolding() {
	for i := range s.Functions {
		f := &s.Functions[i]
		f.holds = f.Away == "" && slices.ContainsFunc(s.Functions, func(o functionStatus) bool {
			return o.Stream == f.Stream && o.Function == archive.Name && o.Watermark.Compare(f.Watermark) > 0
		}) && !slices.ContainsFunc(s.Functions, func(o functionStatus) bool {
			return o.Stream == f.Stream && o.Function != f.Function && o.Away == "" && o.Watermark.Compare(f.Watermark) <= 0
		})
	}
}

// isLate tells whether an entry that the function has not applied was appended more than late ago.
func (f functionStatus) isLate(late time.Duration) bool {
	return f.Lag != nil && *f.Lag > 0 && f.OldestAge != nil && *f.OldestAge > late.Seconds()
}

// age gives OldestAge, which must be known, in whole seconds.
func (f functionStatus) age() time.Duration {
	return time.Duration(*f.OldestAge * float64(time.Second)).Round(time.Second)
}

// appendTime gives the time at which the first entry after a mark was appended, where there is one that tells it. In a
// feed's stream it tells by the feed's clock, in others what a producer says does not count.
func appendTime(
	ctx context.Context, client *redisstream.Client, mark postgres.FunctionMark, fed bool,
) (at time.Time, found bool, err error) {
	entries, err := client.Range(ctx, mark.Stream, mark.Mark.ID, events.ID{}, 2)
	if err != nil {
		return time.Time{}, false, err
	}
	for _, entry := range entries {
		if entry.ID.Compare(mark.Mark.ID) > 0 {
			at := entry.Appended()
			if fed {
				at = entry.WaitsSince()
			}
			return at, events.Bucketed(at), nil // ids that are no times read as times before any chain
		}
	}
	return time.Time{}, false, nil
}

func (s *status) take(t postgres.Troubles) {
	s.DeadLetters = t.DeadLetters
	s.MetricErrors = make([]metricStatus, len(t.MetricErrors))
	for i, m := range t.MetricErrors {
		s.MetricErrors[i] = metricStatus{m.Metric, m.Stream, m.Reason, m.Count, m.Sample, m.LastSeen.UTC()}
	}
	s.PendingReverts = make([]revertStatus, len(t.PendingReverts))
	for i, r := range t.PendingReverts {
		s.PendingReverts[i] = revertStatus{
			r.Function, r.Stream, r.ID, r.Revert.Ancestor, r.Revert.Number, r.RecordedAt.UTC(),
		}
	}
	s.Holes = make([]holeStatus, len(t.Holes))
	for i, h := range t.Holes {
		s.Holes[i] = holeStatus{h.Function, h.Stream, h.Hole.After, h.Hole.Next, h.Reason, h.AcceptedAt.UTC(), utc(h.ImportedAt)}
	}
	s.MissingBlocks = make([]missingStatus, len(t.MissingBlocks))
	for i, m := range t.MissingBlocks {
		s.MissingBlocks[i] = missingStatus(m)
	}
}

// write shows the status to people.
func (s *status) write(w io.Writer, a *app) error {
	style := styleOf(w)
	var text strings.Builder
	if len(s.Streams) == 0 {
		text.WriteString("no stream yet: a feed makes one, or: " + a.command("up") + "\n")
	} else if err := s.streamTable().write(&text, style, ""); err != nil {
		return err
	}
	if len(s.Functions) > 0 {
		text.WriteString("\n")
		if err := s.functionTable().write(&text, style, ""); err != nil {
			return err
		}
	}
	for _, trouble := range s.troubles(a) {
		text.WriteString("\n" + style.red(trouble.what) + "\n")
		for _, line := range trouble.lines {
			text.WriteString("  " + printable(line) + "\n")
		}
	}
	for _, f := range s.Functions {
		if f.Away != "" {
			fmt.Fprintf(&text, "\n%s is away from %s: %s\n", f.Function, printable(f.Stream), f.Away)
		}
	}
	if len(s.Holes) > 0 {
		text.WriteString("\naccepted losses\n")
		for _, h := range s.Holes {
			fmt.Fprintf(&text, "  %s in %s: between %s and %s, %s: %s", h.Function, printable(h.Stream), h.After, h.Next,
				h.AcceptedAt.Format(time.DateOnly), printable(h.Reason))
			if h.ImportedAt != nil {
				text.WriteString(", imported " + h.ImportedAt.Format(time.DateOnly))
			}
			text.WriteString("\n")
		}
	}
	for _, m := range s.MissingBlocks {
		fmt.Fprintf(&text, "\nthe archive lacks %s of %s in %s: %s\n", plural(int(m.Blocks), "block", "blocks"), printable(m.Chain),
			plural(int(m.Holes), "hole", "holes"), a.command("coverage", m.Stream))
	}
	if len(s.Paused) > 0 {
		text.WriteString("\npaused metrics, whose runs are not begun\n")
		for _, p := range s.Paused {
			fmt.Fprintf(&text, "  %s, %s: %s\n", p.Metric, p.PausedAt.Format(time.DateTime), a.command("metric", "resume", p.Metric))
		}
	}
	if s.OK && len(s.Streams) > 0 {
		text.WriteString("\n" + style.green("nothing is wrong") + "\n")
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func (s *status) streamTable() *table {
	t := &table{columns: []column{
		{name: "stream"},
		{name: "mode"},
		{name: "chain"},
		{name: "entries", right: true},
		{name: "first", right: true},
		{name: "last", right: true},
		{name: "size", right: true},
	}}
	for _, stream := range s.Streams {
		mode := stream.Mode
		if mode == "" {
			mode = "-"
		}
		if !stream.Exists {
			t.add(printable(stream.Name), mode, printable(stream.Chain), "missing", "", "", "")
			continue
		}
		t.add(printable(stream.Name), mode, printable(stream.Chain), grouped(stream.Length), stream.First.String(),
			stream.Last.String(), byteSize(stream.Bytes))
	}
	return t
}

func (s *status) functionTable() *table {
	t := &table{columns: []column{
		{name: "function"},
		{name: "stream"},
		{name: "watermark", right: true},
		{name: "lag", right: true},
		{name: "oldest", right: true},
		{name: "moved"},
	}}
	for _, f := range s.Functions {
		lag, oldest := "loss", "-"
		if f.Lag != nil {
			lag = grouped(*f.Lag)
		}
		if f.Away != "" {
			lag = "away"
		}
		if f.OldestAge != nil {
			oldest = f.age().String()
		}
		t.add(f.Function, printable(f.Stream), f.Watermark.String(), lag, oldest, f.MovedAt.Format(time.DateTime))
	}
	return t
}

// trouble is something to look at, and what to do about it.
type trouble struct {
	what  string
	lines []string
}

func (s *status) troubles(a *app) []trouble {
	var all []trouble
	for _, f := range s.Functions {
		if f.Loss != "" {
			t := trouble{what: fmt.Sprintf("%s cannot go on in %s: %s", f.Function, printable(f.Stream), printable(f.Loss))}
			if f.acceptable {
				t.lines = []string{
					"a feed that runs and still has the entries heals this by itself; where none can:",
					a.command("stream", "accept", f.Stream),
				}
			} else {
				t.lines = []string{"nothing follows what is lost: start its feed again"}
			}
			all = append(all, t)
		}
		if f.Late {
			t := trouble{
				what: fmt.Sprintf("%s is late in %s: it has applied nothing that was appended in the last %s", f.Function,
					printable(f.Stream), f.age()),
				lines: []string{"look at its log, or at its source's"},
			}
			if f.holds {
				t.lines = append(t.lines, "it alone keeps the stream from being trimmed; where it is to stay away:",
					a.command("function", "detach", f.Function))
			}
			all = append(all, t)
		}
	}
	if s.DeadLetters > 0 {
		all = append(all, trouble{
			what:  plural(int(s.DeadLetters), "entry", "entries") + " could not be read; all others are applied",
			lines: []string{"see which and why: " + a.command("dead-letter", "list")},
		})
	}
	if len(s.MetricErrors) > 0 {
		t := trouble{what: "metrics that do not count everything"}
		for _, m := range s.MetricErrors {
			t.lines = append(t.lines, fmt.Sprintf("%s: %s: %s, such as in %s of %s", m.Metric, m.Reason,
				plural(int(m.Count), "time", "times"), m.Sample, m.Stream))
		}
		all = append(all, t)
	}
	if len(s.PendingReverts) > 0 {
		t := trouble{what: "reverted blocks that are still counted"}
		for _, r := range s.PendingReverts {
			t.lines = append(t.lines, fmt.Sprintf("%s in %s: %s takes back what follows %s, height %s", r.Function, r.Stream,
				r.ID, r.Ancestor, strconv.FormatUint(r.Number, 10)))
		}
		all = append(all, t)
	}
	return all
}

// byteSize writes a number of bytes in binary units.
func byteSize(n int64) string {
	const unit = 1024
	if n < unit {
		return strconv.FormatInt(n, 10) + " B"
	}
	size, i := float64(n)/unit, 0
	for ; size >= unit && i < 4; i++ {
		size /= unit
	}
	return fmt.Sprintf("%.1f %ciB", size, "KMGTP"[i])
}
