package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

const metricPauseHelp = `Pause the runs of a metric: none is requested because it is due, and none that is queued is
begun. Its buckets go on with the stream, and no window becomes final. A run that is under way ends.

What is asked for by hand stays queued until the metric is resumed; only "metric run" computes at once. Resumed, the
metric catches up with all that has become due.`

const metricResumeHelp = `Resume the runs of a metric that is paused. What has become due meanwhile is
requested at the next tick.`

func (a *app) metricPauseCommand() *cobra.Command {
	cmd := a.pausingCommand("pause", "paused", (*postgres.Store).PauseMetric)
	cmd.Short, cmd.Long = "Pause the runs of a metric", metricPauseHelp
	return cmd
}

func (a *app) metricResumeCommand() *cobra.Command {
	cmd := a.pausingCommand("resume", "resumed", (*postgres.Store).ResumeMetric)
	cmd.Short, cmd.Long = "Resume the runs of a metric", metricResumeHelp
	return cmd
}

// pausingCommand makes a command that does something to a metric, and says so.
func (a *app) pausingCommand(verb, done string, do func(*postgres.Store, context.Context, string) error) *cobra.Command {
	return &cobra.Command{
		Use:               verb + " NAME",
		Example:           "  chainmetrics metric " + verb + " btc_fees",
		Args:              oneArg("NAME"),
		ValidArgsFunction: a.completeMetrics,
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer store.Close()
			if err := do(store, cmd.Context(), args[0]); err != nil {
				return a.unknownMetric(err)
			}
			_, err = fmt.Fprintf(a.out, "%s %s\n", done, args[0])
			return err
		},
	}
}
