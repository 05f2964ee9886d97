package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

// completionTimeout bounds how long a shell waits for names from the store.
const completionTimeout = 2 * time.Second

// complete makes a shell complete a flag with fixed values.
func complete(cmd *cobra.Command, flag string, values []string) {
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc(flag,
		cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveKeepOrder)))
}

// completeMetrics completes the names of registered metrics.
func (a *app) completeMetrics(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completeFirst(cmd, args, func(ctx context.Context, store *postgres.Store) (names []string, err error) {
		metrics, err := store.Metrics(ctx)
		for _, m := range metrics {
			names = append(names, cobra.CompletionWithDesc(m.Definition.Name, m.Definition.Description))
		}
		return names, err
	})
}

// completeStreams completes the names of streams.
func (a *app) completeStreams(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completeFirst(cmd, args, func(ctx context.Context, store *postgres.Store) (names []string, err error) {
		streams, err := store.Streams(ctx)
		for _, s := range streams {
			names = append(names, s.Name)
		}
		return names, err
	})
}

// completeFirst completes the first argument with names from the store; none where that cannot be reached.
func (a *app) completeFirst(
	cmd *cobra.Command, args []string, read func(context.Context, *postgres.Store) ([]string, error),
) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	store, err := a.openStore(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer store.Close()
	names, err := read(ctx, store)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
