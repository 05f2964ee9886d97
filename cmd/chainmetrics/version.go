package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/shared/postgres/migration"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the versions of this command and its schema",
		Example: "  chainmetrics version",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(a.out, "chainmetrics %s (%s, %s/%s, schema %.12s)\n",
				version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, migration.Hash())
			return err
		},
	}
}

// version gives the version that the build has recorded: a release, or the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return info.Main.Version
}
