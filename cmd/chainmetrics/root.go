package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Exit statuses, as the help text of the command says.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

const rootHelp = `Chainmetrics turns the events of blockchains into time buckets in Postgres.

Commands find their servers by flag (--postgres-url, --redis-url), else by environment (POSTGRES_URL or POSTGRES_HOST,
POSTGRES_PORT, POSTGRES_DB, POSTGRES_USER, POSTGRES_PASSWORD; REDIS_URL or REDIS_HOST, REDIS_PORT), else they use the
local system that "chainmetrics up" runs in the data directory.

Exit status: 0 done, 1 failed, 2 wrong usage. Errors go to standard error. NO_COLOR turns colours off.`

const rootExample = `  chainmetrics up                       run everything on this machine, with real Bitcoin blocks
  chainmetrics metric list              what is measured
  chainmetrics query btc_block_count --bucket daily
  chainmetrics coverage                 what the archive has, and what is missing
  chainmetrics status                   what is late, what failed, what is lost`

// defaultDataDir is the directory of the local system, below the current directory.
const defaultDataDir = ".chainmetrics"

// app is one run of the command: where it reads and writes, and what the persistent flags said.
type app struct {
	in          io.Reader
	out, errors io.Writer
	now         func() time.Time

	postgresURL string
	redisURL    string
	dataDir     string
	wait        time.Duration
}

// run executes a command line, reports its error, and gives the exit status.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.rootCommand() //nolint:contextcheck // commands have the context from cobra
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.errors)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	report(a.errors, err)
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	return exitFailure
}

func (a *app) rootCommand() *cobra.Command {
	root := group(&cobra.Command{
		Use:           "chainmetrics",
		Short:         "Metrics of blockchains in time buckets",
		Long:          rootHelp,
		Example:       rootExample,
		SilenceUsage:  true,
		SilenceErrors: true,
	})
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, "%w", err) })
	flags := root.PersistentFlags()
	flags.StringVar(&a.postgresURL, "postgres-url", "", "Postgres to use, postgres://… (default: environment, else local system)")
	flags.StringVar(&a.redisURL, "redis-url", "", "Redis to use, redis://… (default: environment, else local system)")
	flags.StringVar(&a.dataDir, "data-dir", defaultDataDir, "`directory` of the local system")
	flags.DurationVar(&a.wait, "wait", 0, "how long to wait for servers that do not answer yet, or lack the schema")
	root.AddCommand(
		a.upCommand(),
		a.migrateCommand(),
		a.statusCommand(),
		a.queryCommand(),
		a.metricCommand(),
		a.renderCommand(),
		a.feedCommand(),
		a.importCommand(),
		a.streamCommand(),
		a.functionCommand(),
		a.runCommand(),
		a.backfillCommand(),
		a.coverageCommand(),
		a.checkCommand(),
		a.deadLetterCommand(),
		a.revisionCommand(),
		a.versionCommand(),
	)
	return root
}

// group makes a command that only holds others: alone it shows its help, an unknown name below it is wrong usage.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
			return usage(cmd, "unknown command %q: did you mean %s?", args[0], strings.Join(similar, " or "))
		}
		return usage(cmd, "unknown command %q", args[0])
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.SuggestionsMinimumDistance = 2
	cmd.DisableFlagsInUseLine = true
	return cmd
}

// noArgs refuses arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(cmd, "unexpected argument %q", args[0])
	}
	return nil
}

// oneArg takes exactly one argument, which is called name in its error.
func oneArg(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return usage(cmd, "%s is missing", name)
		case 1:
			return nil
		default:
			return usage(cmd, "unexpected argument %q after %s", args[1], args[0])
		}
	}
}

// upToOneMetric takes one argument at most, the name of a metric.
func upToOneMetric(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usage(cmd, "unexpected argument %q after METRIC", args[1])
	}
	return nil
}

// usage makes an error of wrong usage, which points to the command's help.
func usage(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{err: advise(fmt.Errorf(format, args...), "see %s --help", cmd.CommandPath())}
}
