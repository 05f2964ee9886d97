// Package examples holds what a newcomer starts with: metric definitions with the real chain that they measure.
package examples

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Metrics holds the example definitions, metrics/<chain>.yaml, and the kustomization that makes a ConfigMap of them.
//
//go:embed kustomization.yaml metrics/*.yaml
var Metrics embed.FS

// The sample chain is blocks 0 to 14131 of Bitcoin mainnet, in the format of Bitcoin Core's block files, which btcd
// (ISC licence) carries among its test data. The checksum is that of the Go checksum database.
const (
	sampleModule   = "github.com/btcsuite/btcd@v0.26.2"
	sampleChecksum = "h1:hPXzICjUZOsW2JwBLg9nHwGabc/D7pJDlna2vTB/SWI="
	sampleFile     = "blockchain/testdata/blk_0_to_14131.dat"
)

// SampleChain gives the path of the sample chain's block file in the Go module cache, and downloads it where it is not
// there yet. Its error says what to do.
func SampleChain(ctx context.Context) (file string, err error) {
	goCommand, err := exec.LookPath("go")
	if err != nil {
		return "", fmt.Errorf("find the sample chain: %w: it comes with the Go module %s; install Go from "+
			"https://go.dev/dl, or name your own block files", err, sampleModule)
	}
	outside, err := os.MkdirTemp("", "chainmetrics-sample-") // a folder without go.mod, which stays untouched
	if err != nil {
		return "", fmt.Errorf("find the sample chain: %w", err)
	}
	defer os.RemoveAll(outside) //nolint:errcheck // it is empty
	download := exec.CommandContext(ctx, goCommand, "mod", "download", "-json", sampleModule)
	download.Dir = outside
	download.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "GO111MODULE=on")
	var complaints bytes.Buffer
	download.Stderr = &complaints
	answer, failure := download.Output()
	if ctx.Err() != nil {
		return "", fmt.Errorf("download the sample chain: %w", ctx.Err())
	}
	return sampleIn(answer, errors.Join(failure, stderr(complaints.String())))
}

func stderr(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}

// sampleIn reads the answer of go mod download, which is JSON also where the download failed.
func sampleIn(answer []byte, failure error) (file string, err error) {
	var module struct {
		Dir, Sum, Error string
	}
	if err := json.Unmarshal(answer, &module); err != nil {
		return "", fmt.Errorf("download the sample chain: go mod download: %w", errors.Join(failure, err))
	}
	switch {
	case module.Error != "":
		return "", fmt.Errorf("download the sample chain: %s: check the network and GOPROXY (go env GOPROXY), try again, "+
			"or name your own block files", module.Error)
	case module.Sum != sampleChecksum:
		return "", fmt.Errorf("download the sample chain: %s has checksum %q, want %q: what the module cache or the proxy "+
			"holds was altered; run go clean -modcache, set GOPROXY to one you trust, try again",
			sampleModule, module.Sum, sampleChecksum)
	}
	file = filepath.Join(module.Dir, filepath.FromSlash(sampleFile))
	if _, err := os.Stat(file); err != nil {
		return "", fmt.Errorf("find the sample chain: %w: run go clean -modcache and try again", err)
	}
	return file, nil
}
