// Command planner keeps the schedules of the cluster as the registry says.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"knative.dev/pkg/signals"

	"github.com/chainmetrics/chainmetrics/functions/planner/cluster"
	"github.com/chainmetrics/chainmetrics/functions/planner/planner"
	"github.com/chainmetrics/chainmetrics/shared/environment"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/receiver"
	"github.com/chainmetrics/chainmetrics/shared/telemetry"
)

type config struct {
	Cluster   cluster.Config
	Postgres  postgres.Config
	Receiver  receiver.Config
	Telemetry telemetry.Config
}

func main() {
	if err := run(signals.NewContext()); err != nil {
		slog.Error("planner stopped", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var cfg config
	if err := environment.Read(&cfg); err != nil {
		return err
	}
	stop, err := telemetry.Setup(ctx, cfg.Telemetry, planner.Name, os.Stderr)
	if err != nil {
		return err
	}
	defer stop()
	objects, place, err := cluster.Open(ctx, cfg.Cluster)
	if err != nil {
		return fmt.Errorf("open cluster: %w", err)
	}
	store, err := postgres.Open(ctx, cfg.Postgres)
	if err != nil {
		return fmt.Errorf("open postgres: %w", err)
	}
	defer store.Close()
	return receiver.Serve(ctx, cfg.Receiver, planner.NewFunction(store, objects, place))
}
