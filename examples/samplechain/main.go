// Command samplechain copies the block files of the sample chain to a folder.
//
// In an image they are ko's static assets, which scripts/images puts into kodata by this same command; elsewhere they come
// from the Go module cache.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/chainmetrics/chainmetrics/examples"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Getenv("KO_DATA_PATH")); err != nil {
		fmt.Fprintln(os.Stderr, "samplechain:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, assets string) error {
	if len(args) != 1 {
		return errors.New("usage: samplechain FOLDER")
	}
	files, err := blockFiles(ctx, assets)
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		// What a run that was killed has left is replaced. Others may read it: it is public.
		if err := os.WriteFile(filepath.Join(args[0], filepath.Base(file)), data, 0o644); err != nil { //nolint:gosec // as said
			return err
		}
	}
	return nil
}

func blockFiles(ctx context.Context, assets string) ([]string, error) {
	if assets == "" {
		file, err := examples.SampleChain(ctx)
		return []string{file}, err
	}
	files, err := filepath.Glob(filepath.Join(assets, "*.dat"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no block files in %s: build the image with make images", assets)
	}
	return files, err
}
