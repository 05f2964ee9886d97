package pipeline

import (
	"encoding/binary"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/chainmetrics/chainmetrics/events/feed/bitcoin"
	"github.com/chainmetrics/chainmetrics/examples"
)

// SampleBlocks is the number of blocks of the sample chain.
const SampleBlocks = 14132

// SampleChain gives the path of the sample chain's block file.
func SampleChain(t testing.TB) string {
	t.Helper()
	file, err := examples.SampleChain(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// Blocks reads the blocks of a block file, by height.
func Blocks(t testing.TB, file string) []*bitcoin.Block {
	t.Helper()
	chain, err := bitcoin.Open(t.Context(), bitcoin.Config{Files: file, Network: "mainnet", InputValues: true},
		slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = chain.Close() }() // was only read
	blocks := make([]*bitcoin.Block, chain.Tip()+1)
	for number := range blocks {
		if blocks[number], err = chain.Read(t.Context(), uint64(number)); err != nil {
			t.Fatal(err)
		}
	}
	return blocks
}

// Beginning writes a block file with the first blocks of the sample chain, and gives its path.
func Beginning(t testing.TB, blocks int) string {
	t.Helper()
	data, err := os.ReadFile(SampleChain(t))
	if err != nil {
		t.Fatal(err)
	}
	const header = 8 // of a block in the file: magic number, size
	length := 0
	for range blocks {
		length += header + int(binary.LittleEndian.Uint32(data[length+4:]))
	}
	file := filepath.Join(t.TempDir(), "blk00000.dat")
	if err := os.WriteFile(file, data[:length], 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
