package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

func (a *app) functionCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:     "function",
		Short:   "See functions, let those that are away keep nothing back",
		Example: "  chainmetrics function list\n  chainmetrics function detach gauge",
	})
	cmd.AddCommand(a.functionListCommand(), a.functionDetachCommand(), a.functionAttachCommand())
	return cmd
}

const functionListHelp = `List how far each function has applied each stream. Streams are trimmed to what the archive and
every attached function have applied.

  lag        entries that it has still to apply, estimated in an open stream; - where Redis cannot be
             asked, or has no more what the function has still to apply
  low water  chain time up to which everything has come: windows that end later are not due yet;
             - where that is not known
  state      active; detached since a time, and keeping nothing from being trimmed; or moved at the
             archive's next tick, because the stream has no more what it has still to apply
  ranges     what it was moved over and no runs were requested of yet; its ticks request them

Output: "table" is for people and may change. "json" is a list of objects with function, stream,
watermark, lag, low_water, away (the state, but for active), detached_at, pending_ranges. lag and
low_water are null where the table has -, detached_at is null for a function that is attached.
Times are RFC 3339.`

func (a *app) functionListCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List how far functions have come, and which are detached",
		Long:    functionListHelp,
		Example: "  chainmetrics function list --output json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			functions, err := a.readFunctions(cmd.Context())
			if err != nil {
				return err
			}
			if output == outputJSON {
				return writeJSON(a.out, functions)
			}
			return a.listFunctions(functions)
		},
	}
	outputFlag(cmd, &output, outputTable, outputJSON)
	return cmd
}

// shownFunction is the JSON form of a function on a stream.
type shownFunction struct {
	Function   string     `json:"function"`
	Stream     string     `json:"stream"`
	Watermark  events.ID  `json:"watermark"`
	Lag        *int64     `json:"lag"`
	LowWater   *time.Time `json:"low_water"`
	Away       string     `json:"away,omitempty"` // as in status
	DetachedAt *time.Time `json:"detached_at"`
	Ranges     int64      `json:"pending_ranges"`
}

func (a *app) readFunctions(ctx context.Context) ([]shownFunction, error) {
	store, err := a.openStore(ctx)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	marks, err := store.Marks(ctx, "")
	if err != nil {
		return nil, err
	}
	infos := a.readInfos(ctx, marks)
	functions := make([]shownFunction, len(marks))
	for i, f := range marks {
		info, asked := infos[f.Stream]
		functions[i] = shownFunction{
			Function: f.Function, Stream: f.Stream, Watermark: f.Mark.ID,
			Away: away(f, info), DetachedAt: utc(f.DetachedAt), Ranges: f.Ranges,
		}
		if asked && !info.Lacks(f.Mark.ID) {
			functions[i].Lag = new(info.Behind(f.Mark.ID))
		}
		if !f.LowWater.IsZero() {
			functions[i].LowWater = new(f.LowWater)
		}
	}
	return functions, nil
}

// readInfos asks Redis for the streams of functions. It leaves out those that Redis cannot be asked for.
func (a *app) readInfos(ctx context.Context, marks []postgres.FunctionMark) map[string]redisstream.Info {
	infos := make(map[string]redisstream.Info)
	client, err := a.openRedis(ctx)
	if err != nil {
		return infos
	}
	defer client.Close() //nolint:errcheck // only read
	for _, f := range marks {
		if info, err := client.Info(ctx, f.Stream); err == nil {
			infos[f.Stream] = info
		}
	}
	return infos
}

func (a *app) listFunctions(functions []shownFunction) error {
	if len(functions) == 0 {
		_, err := fmt.Fprintln(a.errors, "no function has begun a stream yet")
		return err
	}
	t := &table{columns: []column{
		{name: "function"},
		{name: "stream"},
		{name: "watermark", right: true},
		{name: "lag", right: true},
		{name: "low water"},
		{name: "state"},
		{name: "ranges", right: true},
	}}
	for _, f := range functions {
		lag, low, state := "-", "-", cmp.Or(f.Away, "active")
		if f.Lag != nil {
			lag = grouped(*f.Lag)
		}
		if f.LowWater != nil {
			low = f.LowWater.Format(time.DateTime)
		}
		t.add(f.Function, printable(f.Stream), f.Watermark.String(), lag, low, state, strconv.FormatInt(f.Ranges, 10))
	}
	return t.write(a.out, styleOf(a.out), "")
}

func (a *app) functionDetachCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "detach NAME",
		Short: "Let a function keep nothing from being trimmed",
		Long: `Let a function keep nothing from being trimmed, because it stays away. Its buckets stay as they are,
and it may go on as long as the streams have what it has still to apply. Once it is attached again,
the archive gives it what they have no more.`,
		Example:           "  chainmetrics function detach gauge",
		Args:              oneArg("NAME"),
		ValidArgsFunction: a.completeFunctions,
		RunE: func(cmd *cobra.Command, args []string) error {
			question := "Detach " + printable(args[0]) + "? Streams are trimmed without regard to it then."
			return a.changeFunction(cmd.Context(), args[0], "detached", func(store *postgres.Store) error {
				if err := a.confirm(question, yes); err != nil {
					return err
				}
				return store.Detach(cmd.Context(), args[0])
			})
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func (a *app) functionAttachCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "attach NAME",
		Short: "Have a function keep what it needs again",
		Long: `Have a function that was detached keep what it needs from being trimmed again. Where the streams
have gone on without it, the next tick of the archive moves it to where that is, and runs compute
what lies between.`,
		Example:           "  chainmetrics function attach gauge",
		Args:              oneArg("NAME"),
		ValidArgsFunction: a.completeFunctions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeFunction(cmd.Context(), args[0], "attached", func(store *postgres.Store) error {
				return store.Attach(cmd.Context(), args[0])
			})
		},
	}
}

// errArchive says that the archive cannot be detached: what it does not have must stay in the streams.
var errArchive = errors.New("the archive keeps what it has not archived in any case")

// changeFunction carries out what makes a function such as is said.
func (a *app) changeFunction(ctx context.Context, name, state string, change func(*postgres.Store) error) error {
	if name == archive.Name {
		return errArchive
	}
	store, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	marks, err := store.Marks(ctx, "")
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(marks, func(f postgres.FunctionMark) bool { return f.Function == name }) {
		return advise(fmt.Errorf("%w: %s", postgres.ErrUnknownFunction, printable(name)), "see the names with: %s",
			a.command("function", "list"))
	}
	if err := change(store); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "%s is %s\n", name, state)
	return err
}

// completeFunctions completes the names of functions.
func (a *app) completeFunctions(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completeFirst(cmd, args, func(ctx context.Context, store *postgres.Store) (names []string, err error) {
		marks, err := store.Marks(ctx, "")
		for _, f := range marks {
			if f.Function != archive.Name && !slices.Contains(names, f.Function) {
				names = append(names, f.Function)
			}
		}
		return names, err
	})
}
