// Command serve runs the PostgreSQL server that a failed test has kept, until it is interrupted.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"knative.dev/pkg/signals"

	"github.com/chainmetrics/chainmetrics/shared/devserver"
)

func main() {
	if err := run(signals.NewContext(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("want one argument: the folder of a server, as a failed test prints it")
	}
	if _, err := devserver.URL(args[0]); err != nil {
		return err
	}
	server, err := devserver.StartPostgres(ctx, args[0], devserver.Volatile())
	if err != nil {
		return err
	}
	fmt.Printf("psql '%s' --list\n", server.URL())
	select {
	case <-ctx.Done():
	case <-server.Done():
		return server.Err()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return server.Stop(ctx)
}
