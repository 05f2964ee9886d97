// Package bitcoin reads the block files of Bitcoin Core.
package bitcoin

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"os"

	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/chainhash/v2"
)

var (
	// ErrNoBlock says that the chain has no block at that height yet.
	ErrNoBlock = errors.New("no such block in the block files")
	// ErrDamaged says that no copy of a block in the files is whole. While Bitcoin Core writes it that passes by itself.
	ErrDamaged = errors.New("damaged block")
)

// Chain is the branch with most work among the blocks of some files; of equal branches the one that was seen first.
// It keeps about 300 bytes for each block, and the unspent outputs as [Config] says. It is not safe for concurrent use.
type Chain struct {
	config Config
	params *chaincfg.Params
	base   chainhash.Hash
	log    *slog.Logger

	files   []*file
	blocks  []block // in the order in which they were seen
	byHash  map[chainhash.Hash]int
	waiting map[chainhash.Hash][]int // blocks that do not connect yet, by the parent that is missing
	copies  map[int][]place          // further places of blocks that the files hold more than once
	works   map[uint32]*big.Int      // by bits, of which there are few
	best    []int                    // the chain: blocks by height above the base

	reading *source // the file that was read last
	path    string  // its path
	unspent outputs
}

// block is what is remembered of a header.
type block struct {
	hash   chainhash.Hash
	time   uint32
	place  place
	height int      // above the base; negative where the block does not connect
	parent int      // meaningful above the base
	work   *big.Int // of the branch up to and including it
}

// place is where a block's bytes are.
type place struct {
	file *file
	record
}

// Summary counts what the files hold.
type Summary struct {
	Files       int
	Blocks      int // of the chain
	Stale       int // on other branches
	Unconnected int // whose ancestors are in no file
	Duplicates  int // further copies of blocks
}

// Open reads the headers in the files. It fails where none connects to the genesis block or the configured base.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Chain, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Chain{
		config: cfg, params: networks[cfg.Network], log: log,
		byHash: map[chainhash.Hash]int{}, waiting: map[chainhash.Hash][]int{}, copies: map[int][]place{},
		works: map[uint32]*big.Int{},
	}
	c.base = *c.params.GenesisHash
	if cfg.BaseHash != "" {
		base, err := chainhash.NewHashFromStr(cfg.BaseHash)
		if err != nil {
			return nil, fmt.Errorf("read base hash: %w", err)
		}
		c.base = *base
	}
	if err := c.Refresh(ctx); err != nil {
		return nil, err
	}
	if len(c.best) == 0 {
		return nil, fmt.Errorf("index %s: block %s, with which %s begins, is in none of %d files: "+
			"name files of that network from its beginning, or set FEED_BASE_HASH and FEED_BASE_NUMBER",
			cfg.Files, c.base, cfg.Network, len(c.files))
	}
	return c, nil
}

// Close closes the file that was read last.
func (c *Chain) Close() error {
	if c.reading == nil {
		return nil
	}
	err := c.reading.Close()
	c.reading = nil
	return err
}

// Refresh reads what the files have gained. The chain may have another branch afterwards. Blocks of a file that has gone,
// as a pruning node removes old ones, stay known, but can no longer be read.
func (c *Chain) Refresh(ctx context.Context) error {
	paths, err := findFiles(c.config.Files)
	if err != nil {
		return err
	}
	known := make(map[string]bool, len(c.files))
	before := len(c.blocks)
	for _, f := range c.files {
		known[f.path] = true
		if err := c.index(ctx, f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, path := range paths {
		if known[path] {
			continue
		}
		key, err := readKey(path)
		if err != nil {
			return err
		}
		f := &file{path: path, key: key}
		err = c.index(ctx, f)
		if !errors.Is(err, fs.ErrNotExist) { // otherwise it was removed meanwhile
			c.files = append(c.files, f)
		}
		if err != nil {
			return err
		}
	}
	if len(c.blocks) > before {
		c.choose()
	}
	return nil
}

// Summary counts what was found so far.
func (c *Chain) Summary() Summary {
	s := Summary{Files: len(c.files), Blocks: len(c.best)}
	for _, b := range c.blocks {
		if b.height < 0 {
			s.Unconnected++
		}
	}
	s.Stale = len(c.blocks) - s.Blocks - s.Unconnected
	for _, places := range c.copies {
		s.Duplicates += len(places)
	}
	return s
}

// First is the height of the base.
func (c *Chain) First() uint64 { return c.config.BaseNumber }

// Tip is the height of the last block.
func (c *Chain) Tip() uint64 { return c.config.BaseNumber + uint64(len(c.best)) - 1 }

// Hash gives the hash of the block at a height, in the usual byte order.
func (c *Chain) Hash(number uint64) (hash string, ok bool) {
	b, ok := c.at(number)
	if !ok {
		return "", false
	}
	return b.hash.String(), true
}

func (c *Chain) at(number uint64) (*block, bool) {
	if number < c.First() || number-c.First() >= uint64(len(c.best)) {
		return nil, false
	}
	return &c.blocks[c.best[number-c.First()]], true
}

// index remembers the blocks that a file has gained.
func (c *Chain) index(ctx context.Context, f *file) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	info, err := os.Stat(f.path)
	if err != nil {
		return fmt.Errorf("index block file: %w", err)
	}
	if f.isSettled(info) {
		return nil
	}
	src, err := f.open()
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // it was only read
	s := &scanner{src: src, size: info.Size()}
	binary.LittleEndian.PutUint32(s.magic[:], uint32(c.params.Net))
	f.next, err = s.scan(f.next, func(at record, header [headerSize]byte) bool {
		return c.add(place{file: f, record: at}, header)
	})
	if err != nil {
		return fmt.Errorf("index %s: %w", f.path, err)
	}
	f.scanned(info)
	return nil
}

// add remembers a block, unless its header lacks the proof of work, which says that it is none.
func (c *Chain) add(at place, header [headerSize]byte) bool {
	bits := binary.LittleEndian.Uint32(header[72:])
	hash := chainhash.DoubleHashH(header[:])
	if !proven(hash, bits, c.params.PowLimit) {
		return false
	}
	if known, ok := c.byHash[hash]; ok {
		c.copies[known] = append(c.copies[known], at)
		return true
	}
	if c.works[bits] == nil {
		c.works[bits] = work(bits)
	}
	number := len(c.blocks)
	c.byHash[hash] = number
	c.blocks = append(c.blocks, block{
		hash: hash, time: binary.LittleEndian.Uint32(header[68:]), place: at, height: -1, work: c.works[bits],
	})
	previous := chainhash.Hash(header[4:36])
	switch parent, ok := c.byHash[previous]; {
	case hash == c.base:
		c.blocks[number].height = 0
		c.connect(number)
	case ok && c.blocks[parent].height >= 0:
		c.extend(parent, number)
		c.connect(number)
	default:
		c.waiting[previous] = append(c.waiting[previous], number)
	}
	return true
}

// extend gives a block its height and work.
func (c *Chain) extend(parent, child int) {
	c.blocks[child].parent = parent
	c.blocks[child].height = c.blocks[parent].height + 1
	c.blocks[child].work = new(big.Int).Add(c.blocks[parent].work, c.blocks[child].work)
}

// connect extends everything that waited for a block.
func (c *Chain) connect(number int) {
	for ready := []int{number}; len(ready) > 0; {
		parent := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		hash := c.blocks[parent].hash
		for _, child := range c.waiting[hash] {
			c.extend(parent, child)
			ready = append(ready, child)
		}
		delete(c.waiting, hash)
	}
}

// choose makes best the branch with most work, of equal ones that whose tip was seen first.
func (c *Chain) choose() {
	tip := -1
	for i, b := range c.blocks {
		if b.height >= 0 && (tip < 0 || b.work.Cmp(c.blocks[tip].work) > 0) {
			tip = i
		}
	}
	if tip < 0 {
		return
	}
	c.best = make([]int, c.blocks[tip].height+1)
	for height := len(c.best) - 1; height >= 0; height-- {
		c.best[height] = tip
		tip = c.blocks[tip].parent
	}
}
