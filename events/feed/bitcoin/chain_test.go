package bitcoin

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/examples"
)

const (
	sampleBlocks = 14_132
	sampleTip    = "00000000b3e750f37fdb42e1018799a9f44b546d393b130b369590a072430a1c"
)

func samplePath(t testing.TB) string {
	t.Helper()
	path, err := examples.SampleChain(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// sampleRecords gives the blocks of the sample in their order, each with magic number and length.
func sampleRecords(t testing.TB) [][]byte {
	t.Helper()
	data, err := os.ReadFile(samplePath(t))
	if err != nil {
		t.Fatal(err)
	}
	var records [][]byte
	for offset := 0; len(data)-offset >= prefixSize; {
		size := int(binary.LittleEndian.Uint32(data[offset+4:]))
		if size == 0 {
			break
		}
		records = append(records, data[offset:offset+prefixSize+size])
		offset += prefixSize + size
	}
	if len(records) != sampleBlocks {
		t.Fatalf("sample has %d blocks", len(records))
	}
	return records
}

func write(t testing.TB, path string, parts ...[]byte) {
	t.Helper()
	if err := os.WriteFile(path, bytes.Join(parts, nil), 0o600); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, cfg Config) *Chain {
	t.Helper()
	if cfg.Network == "" {
		cfg.Network = "mainnet"
	}
	chain, err := Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chain.Close(); err != nil {
			t.Error(err)
		}
	})
	return chain
}

func checkSample(t *testing.T, chain *Chain) {
	t.Helper()
	if hash, _ := chain.Hash(sampleBlocks - 1); chain.Tip() != sampleBlocks-1 || hash != sampleTip {
		t.Errorf("tip is %d %s", chain.Tip(), hash)
	}
	var previous string
	for number := range uint64(sampleBlocks) {
		b, err := chain.Read(t.Context(), number)
		if err != nil {
			t.Fatal(err)
		}
		if number > 0 && b.PreviousBlockHash != previous {
			t.Fatalf("block %d follows %s, not %s", number, b.PreviousBlockHash, previous)
		}
		previous = b.Hash
	}
}

func TestSampleInOtherShapes(t *testing.T) {
	t.Parallel()
	records := sampleRecords(t)
	shuffled := func() [][]byte {
		order := rand.New(rand.NewPCG(1, 2)).Perm(len(records))
		parts := make([][]byte, 0, 2*len(records))
		for i, from := range order {
			parts = append(parts, records[from])
			if i%100 == 0 {
				parts = append(parts, make([]byte, i))
			}
		}
		return parts
	}
	obfuscate := func(key [keySize]byte, data []byte) []byte {
		plain := bytes.Clone(data)
		for i := range plain {
			plain[i] ^= key[i%keySize]
		}
		return plain
	}
	shapes := map[string]struct {
		write func(t *testing.T, folder string)
		want  Summary
	}{
		"out of order with padding": {
			write: func(t *testing.T, folder string) {
				t.Helper()
				write(t, filepath.Join(folder, "blk00000.dat"), shuffled()...)
			},
			want: Summary{Files: 1, Blocks: sampleBlocks},
		},
		"two files, the later one first": {
			write: func(t *testing.T, folder string) {
				t.Helper()
				write(t, filepath.Join(folder, "blk00000.dat"), records[7000:]...)
				write(t, filepath.Join(folder, "blk00001.dat"), records[:7000]...)
				write(t, filepath.Join(folder, "rev00000.dat"), []byte("no block file"))
			},
			want: Summary{Files: 2, Blocks: sampleBlocks},
		},
		"obfuscated": {
			write: func(t *testing.T, folder string) {
				t.Helper()
				key := [keySize]byte{0xf9, 2, 3, 4, 5, 6, 7, 8}
				write(t, filepath.Join(folder, "xor.dat"), key[:])
				split := bytes.Join(records[:5000], nil)
				split = append(obfuscate(key, split), make([]byte, 1<<20)...) // preallocated zeros are not obfuscated
				write(t, filepath.Join(folder, "blk00000.dat"), split)
				write(t, filepath.Join(folder, "blk00001.dat"), obfuscate(key, bytes.Join(records[5000:], nil)))
			},
			want: Summary{Files: 2, Blocks: sampleBlocks},
		},
		"blocks twice, the first copy damaged": {
			write: func(t *testing.T, folder string) {
				t.Helper()
				damaged := bytes.Clone(records[170])
				clear(damaged[prefixSize+headerSize:])
				write(t, filepath.Join(folder, "blk00000.dat"), bytes.Join(records[:170], nil), damaged,
					bytes.Join(records[160:], nil))
			},
			want: Summary{Files: 1, Blocks: sampleBlocks, Duplicates: 11},
		},
		"foreign bytes between": {
			write: func(t *testing.T, folder string) {
				t.Helper()
				unproven := bytes.Clone(records[9])
				unproven[prefixSize+76]++ // nonce
				absurd := append(bytes.Clone(records[0][:4]), 0xff, 0xff, 0xff, 0xff)
				tiny := append(bytes.Clone(records[0][:4]), 1, 0, 0, 0)
				write(t, filepath.Join(folder, "blk00000.dat"), []byte("\xf9\xbe\xf9"), records[0], unproven, absurd, tiny,
					[]byte("\xf9\xbe\xb4"), bytes.Join(records[1:], nil), records[0][:5])
			},
			want: Summary{Files: 1, Blocks: sampleBlocks},
		},
	}
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			shape.write(t, folder)
			chain := open(t, Config{Files: folder, InputValues: true})
			if diff := cmp.Diff(shape.want, chain.Summary()); diff != "" {
				t.Error(diff)
			}
			checkSample(t, chain)
		})
	}
}

func TestGrowingFile(t *testing.T) {
	t.Parallel()
	records := sampleRecords(t)
	folder := t.TempDir()
	path := filepath.Join(folder, "blk00000.dat")
	padding := make([]byte, 4096)

	write(t, path, bytes.Join(records[:100], nil), records[100][:150])
	chain := open(t, Config{Files: filepath.Join(folder, "*.dat"), InputValues: true})
	if chain.Tip() != 99 {
		t.Fatalf("tip is %d with a record cut off", chain.Tip())
	}
	if _, err := chain.Read(t.Context(), 100); !errors.Is(err, ErrNoBlock) {
		t.Errorf("reading past the tip: %v", err)
	}
	steps := []struct {
		name string
		tip  uint64
		data [][]byte
	}{
		{"the record is completed, space allocated", 100, [][]byte{bytes.Join(records[:101], nil), padding}},
		{"a block arrives before its parent", 100, [][]byte{bytes.Join(records[:101], nil), records[102], padding}},
		{"the parent arrives", 102, [][]byte{bytes.Join(records[:101], nil), records[102], records[101], padding}},
	}
	for _, step := range steps {
		write(t, path, step.data...)
		if err := chain.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if chain.Tip() != step.tip {
			t.Fatalf("%s: tip is %d, want %d", step.name, chain.Tip(), step.tip)
		}
	}
	write(t, filepath.Join(folder, "blk00001.dat"), bytes.Join(records[103:110], nil))
	if err := chain.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if chain.Tip() != 109 {
		t.Fatalf("tip is %d after a new file", chain.Tip())
	}
	if _, err := chain.Read(t.Context(), 109); err != nil {
		t.Error(err)
	}
}

// TestPrunedFile removes a file as a node with -prune does.
func TestPrunedFile(t *testing.T) {
	t.Parallel()
	records := sampleRecords(t)
	folder := t.TempDir()
	old, young := filepath.Join(folder, "blk00000.dat"), filepath.Join(folder, "blk00001.dat")
	write(t, old, records[:50]...)
	write(t, young, records[50:100]...)
	chain := open(t, Config{Files: folder})
	before, _ := chain.Hash(10)
	if err := os.Remove(old); err != nil {
		t.Fatal(err)
	}
	write(t, young, records[50:110]...)
	if err := chain.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after, _ := chain.Hash(10); chain.Tip() != 109 || after != before {
		t.Errorf("tip is %d, block 10 %q", chain.Tip(), after)
	}
	if _, err := chain.Read(t.Context(), 109); err != nil {
		t.Error(err)
	}
	if _, err := chain.Read(t.Context(), 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading a block that was removed: %v", err)
	}
}

// TestUnchangedFile sees that a file is left alone that keeps size and time, and that a write into space that was
// allocated before, which keeps the size, is noticed.
func TestUnchangedFile(t *testing.T) {
	t.Parallel()
	records := sampleRecords(t)
	path := filepath.Join(t.TempDir(), "blk00000.dat")
	begin := time.Unix(1_700_000_000, 0)
	size := len(bytes.Join(records[:103], nil))
	put := func(modified time.Time, blocks int) {
		data := bytes.Join(records[:blocks], nil)
		write(t, path, data, make([]byte, size-len(data)))
		if err := os.Chtimes(path, modified, modified); err != nil {
			t.Fatal(err)
		}
	}
	put(begin, 100)
	chain := open(t, Config{Files: path})
	steps := []struct {
		name     string
		modified time.Time
		blocks   int
		tip      uint64
	}{
		{"right after the first scan, within one tick of the file system's clock", begin, 101, 100},
		{"into allocated space", begin.Add(time.Second), 102, 101},
		{"nothing", begin.Add(time.Second), 102, 101},
		{"with size and time kept for long", begin.Add(time.Second), 103, 101},
		{"with another time", begin.Add(2 * time.Second), 103, 102},
	}
	for _, step := range steps {
		put(step.modified, step.blocks)
		if err := chain.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if chain.Tip() != step.tip {
			t.Fatalf("%s: tip is %d, want %d", step.name, chain.Tip(), step.tip)
		}
	}
}

func TestBase(t *testing.T) {
	t.Parallel()
	records := sampleRecords(t)
	path := filepath.Join(t.TempDir(), "part.dat")
	write(t, path, records[100:200]...)

	log := slog.New(slog.DiscardHandler)
	if _, err := Open(t.Context(), Config{Files: path, Network: "mainnet"}, log); err == nil {
		t.Error("files without the genesis block open")
	}
	var message wire.MsgBlock
	if err := message.Deserialize(bytes.NewReader(records[150][prefixSize:])); err != nil {
		t.Fatal(err)
	}
	chain := open(t, Config{Files: path, BaseHash: message.BlockHash().String(), BaseNumber: 150})
	if chain.First() != 150 || chain.Tip() != 199 {
		t.Errorf("chain is %d to %d", chain.First(), chain.Tip())
	}
	if _, err := chain.Read(t.Context(), 149); !errors.Is(err, ErrNoBlock) {
		t.Errorf("reading before the base: %v", err)
	}
	whole := open(t, Config{Files: samplePath(t)})
	for _, number := range []uint64{150, 159, 160, 170} {
		got, err := chain.Read(t.Context(), number)
		if err != nil {
			t.Fatal(err)
		}
		want, err := whole.Read(t.Context(), number)
		if err != nil {
			t.Fatal(err)
		}
		if number == 150 {
			want.SecondsSinceParent = nil
		}
		if number < 160 {
			want.MedianTime = nil
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("block %d: %s", number, diff)
		}
	}
}

// mine gives a regtest block on top of another, as a record.
func mine(t *testing.T, parent *wire.MsgBlock, tag byte) (*wire.MsgBlock, []byte) {
	t.Helper()
	coinbase := wire.NewMsgTx(1)
	coinbase.AddTxIn(wire.NewTxIn(&wire.OutPoint{Index: wire.MaxPrevOutIndex}, []byte{1, tag}, nil))
	coinbase.AddTxOut(wire.NewTxOut(50_0000_0000, []byte{0x51}))
	hash := coinbase.TxHash()
	previous := parent.BlockHash()
	mined := &wire.MsgBlock{Header: wire.BlockHeader{
		Version: 4, PrevBlock: previous, MerkleRoot: hash,
		Timestamp: parent.Header.Timestamp.Add(1e9), Bits: chaincfg.RegressionNetParams.PowLimitBits,
	}}
	if err := mined.AddTransaction(coinbase); err != nil {
		t.Fatal(err)
	}
	for !proven(mined.BlockHash(), mined.Header.Bits, chaincfg.RegressionNetParams.PowLimit) {
		mined.Header.Nonce++
	}
	return mined, encode(t, mined)
}

func encode(t *testing.T, message *wire.MsgBlock) []byte {
	t.Helper()
	var body bytes.Buffer
	if err := message.Serialize(&body); err != nil {
		t.Fatal(err)
	}
	head := binary.LittleEndian.AppendUint32(nil, uint32(chaincfg.RegressionNetParams.Net))
	head = binary.LittleEndian.AppendUint32(head, uint32(body.Len()))
	return append(head, body.Bytes()...)
}

func TestBranches(t *testing.T) {
	t.Parallel()
	genesis := chaincfg.RegressionNetParams.GenesisBlock
	start := encode(t, genesis)
	a1, a1Record := mine(t, genesis, 'a')
	a2, a2Record := mine(t, a1, 'a')
	b2, b2Record := mine(t, a1, 'b')
	b3, b3Record := mine(t, b2, 'b')
	lost, _ := mine(t, genesis, 'c')
	_, orphanRecord := mine(t, lost, 'c')

	tests := map[string]struct {
		records [][]byte
		tip     *wire.MsgBlock
		want    Summary
	}{
		"the longer branch": {
			[][]byte{start, a1Record, a2Record, b2Record, b3Record},
			b3,
			Summary{Files: 1, Blocks: 4, Stale: 1},
		},
		"the longer branch first, children before parents": {
			[][]byte{b3Record, b2Record, a2Record, a1Record, start},
			b3,
			Summary{Files: 1, Blocks: 4, Stale: 1},
		},
		"equal work: a seen first": {
			[][]byte{start, a1Record, a2Record, b2Record},
			a2,
			Summary{Files: 1, Blocks: 3, Stale: 1},
		},
		"equal work: b seen first, though it connects later": {
			[][]byte{start, b2Record, a2Record, a1Record},
			b2,
			Summary{Files: 1, Blocks: 3, Stale: 1},
		},
		"a block whose parent is missing": {
			[][]byte{start, orphanRecord, a1Record},
			a1,
			Summary{Files: 1, Blocks: 2, Unconnected: 1},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "blk00000.dat")
			write(t, path, test.records...)
			chain := open(t, Config{Files: path, Network: "regtest", InputValues: true})
			if diff := cmp.Diff(test.want, chain.Summary()); diff != "" {
				t.Error(diff)
			}
			if hash, _ := chain.Hash(chain.Tip()); hash != test.tip.BlockHash().String() {
				t.Errorf("tip is %s, want %s", hash, test.tip.BlockHash())
			}
			if _, err := chain.Read(t.Context(), chain.Tip()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBranchOvertakes(t *testing.T) {
	t.Parallel()
	genesis := chaincfg.RegressionNetParams.GenesisBlock
	a1, a1Record := mine(t, genesis, 'a')
	b1, b1Record := mine(t, genesis, 'b')
	b2, b2Record := mine(t, b1, 'b')
	path := filepath.Join(t.TempDir(), "blk00000.dat")

	write(t, path, encode(t, genesis), a1Record)
	chain := open(t, Config{Files: path, Network: "regtest", InputValues: true})
	if b, err := chain.Read(t.Context(), 1); err != nil || b.Hash != a1.BlockHash().String() {
		t.Fatalf("block 1 is %v, %v", b, err)
	}
	write(t, path, encode(t, genesis), a1Record, b1Record, b2Record)
	if err := chain.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b, err := chain.Read(t.Context(), 2); err != nil || b.Hash != b2.BlockHash().String() {
		t.Fatalf("block 2 is %v, %v", b, err)
	}
	if hash, _ := chain.Hash(1); hash != b1.BlockHash().String() {
		t.Errorf("block 1 is still %s", hash)
	}
}

func TestDamage(t *testing.T) {
	t.Parallel()
	records := sampleRecords(t)
	body := records[170][prefixSize:]
	var message wire.MsgBlock
	if err := message.Deserialize(bytes.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	hash := message.BlockHash()
	repeated := message
	repeated.Transactions = append(repeated.Transactions[:2:2], repeated.Transactions...)
	tests := map[string][]byte{
		"last byte":              append(bytes.Clone(body[:len(body)-1]), 7),
		"header only":            body[:headerSize],
		"no transactions":        append(bytes.Clone(body[:headerSize]), 0),
		"zeros":                  append(bytes.Clone(body[:headerSize]), make([]byte, 200)...),
		"trailing byte":          append(bytes.Clone(body), 0),
		"another header":         records[171][prefixSize:],
		"transactions repeated":  encode(t, &repeated)[prefixSize:],
		"absurd number of them":  append(bytes.Clone(body[:headerSize]), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"truncated in the coins": body[:100],
	}
	if _, err := decode(body, hash); err != nil {
		t.Fatal(err)
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := decode(data, hash); !errors.Is(err, ErrDamaged) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func FuzzScan(f *testing.F) {
	records := sampleRecords(f)
	f.Add(bytes.Join(records[:3], nil), uint8(0))
	f.Add(append(bytes.Clone(records[0]), records[1][:100]...), uint8(3))
	f.Add([]byte("\xf9\xbe\xb4\xd9\xff\xff\xff\xff\xf9\xbe\xb4\xd9"), uint8(0))
	f.Add(make([]byte, 200), uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, from uint8) {
		s := &scanner{src: bytes.NewReader(data), size: int64(len(data)), magic: [4]byte{0xf9, 0xbe, 0xb4, 0xd9}}
		last := int64(from)
		end, err := s.scan(last, func(at record, header [headerSize]byte) bool {
			if at.offset < last+prefixSize || at.offset+int64(at.size) > int64(len(data)) {
				t.Fatalf("record %v after %d of %d", at, last, len(data))
			}
			body := data[at.offset : at.offset+int64(at.size)]
			if !bytes.Equal(body[:headerSize], header[:]) {
				t.Fatal("header is not the record's")
			}
			if message, err := decode(body, chainhash.Hash{}); err == nil {
				t.Fatalf("block of no hash: %v", message)
			}
			if at.size%2 == 0 {
				last = at.offset + int64(at.size)
				return true
			}
			return false
		})
		if err != nil {
			t.Fatal(err)
		}
		if end != last {
			t.Fatalf("end is %d, the last record taken ends at %d", end, last)
		}
	})
}
