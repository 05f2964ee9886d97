package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/postgres/migration"
)

func (a *app) migrateCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "migrate",
		Short:   "Bring the schema in Postgres up to date",
		Long:    "Bring the schema in Postgres up to date. Nothing happens where it is; running it twice at once is safe.",
		Example: "  chainmetrics migrate --postgres-url postgres://chainmetrics@db/chainmetrics",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, isLocal, err := a.postgresConfig()
			if err != nil {
				return err
			}
			from, to, err := a.migrate(cmd.Context(), cfg)
			if err != nil {
				return a.migrationError(err, isLocal)
			}
			_, err = fmt.Fprintln(a.out, migrated(from, to))
			return err
		},
	}
}

// migrate brings the schema up to date, from one version to another, as soon as the server answers.
func (a *app) migrate(ctx context.Context, cfg postgres.Config) (from, to int32, err error) {
	err = a.patiently(ctx, func(ctx context.Context) (err error) {
		from, to, err = migration.Run(ctx, cfg.ConnString())
		return err
	}, func(err error) bool { return errors.Is(err, migration.ErrUnreachable) })
	return from, to, err
}

// migrationError says what to do about a server that does not answer.
func (a *app) migrationError(err error, isLocal bool) error {
	if errors.Is(err, migration.ErrUnreachable) {
		return a.unreachable("postgres", isLocal, err)
	}
	return err
}

// migrated says what a migration did.
func migrated(from, to int32) string {
	if from == to {
		return fmt.Sprintf("version %d, nothing to migrate", to)
	}
	return fmt.Sprintf("migrated from version %d to %d", from, to)
}
