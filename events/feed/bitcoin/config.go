package bitcoin

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/chainhash/v2"
)

// Config is read from the environment.
type Config struct {
	// Files is a block file, a folder of blk*.dat, or a glob.
	Files string `envconfig:"BLOCK_FILES"`
	// Network says whose magic number, genesis block and address prefixes hold: mainnet, testnet3, testnet4, signet, regtest.
	Network string `envconfig:"FEED_NETWORK" default:"mainnet"`
	// InputValues keeps every unspent output in memory, so that values and addresses of inputs are known: 130 to 200 bytes
	// and the script's length for each, so nothing for the first years and some 40 GB for all of mainnet; a start reads
	// the chain from its beginning for it. Without it a block's input_value, a transaction's input_value and fee, an
	// input's type, addresses and value are absent.
	InputValues bool `envconfig:"FEED_INPUT_VALUES" default:"true"`
	// BaseHash is the first block to be read where the files do not begin with the genesis block. Input values need the
	// whole chain, so they must be off.
	BaseHash string `envconfig:"FEED_BASE_HASH"`
	// BaseNumber is the height of BaseHash.
	BaseNumber uint64 `envconfig:"FEED_BASE_NUMBER"`
}

var networks = map[string]*chaincfg.Params{
	"mainnet":  &chaincfg.MainNetParams,
	"testnet3": &chaincfg.TestNet3Params,
	"testnet4": &chaincfg.TestNet4Params,
	"signet":   &chaincfg.SigNetParams,
	"regtest":  &chaincfg.RegressionNetParams,
}

// Validate names everything that is wrong at once.
func (cfg *Config) Validate() error {
	var wrong []error
	if cfg.Files == "" {
		wrong = append(wrong, errors.New("BLOCK_FILES is not set: want a block file, a folder of blk*.dat or a glob"))
	}
	if networks[cfg.Network] == nil {
		names := slices.Sorted(maps.Keys(networks))
		wrong = append(wrong, fmt.Errorf("FEED_NETWORK is %q: want one of %s", cfg.Network, strings.Join(names, ", ")))
	}
	if cfg.BaseHash == "" && cfg.BaseNumber > 0 {
		wrong = append(wrong, errors.New("FEED_BASE_NUMBER is set without FEED_BASE_HASH"))
	}
	if cfg.BaseHash != "" {
		if hash, err := chainhash.NewHashFromStr(cfg.BaseHash); err != nil || hash.String() != cfg.BaseHash {
			wrong = append(wrong, errors.New("FEED_BASE_HASH is no block hash: want 64 lower-case hexadecimal digits"))
		}
		if cfg.InputValues {
			wrong = append(wrong, errors.New("FEED_BASE_HASH needs FEED_INPUT_VALUES=false: outputs before the base are unknown"))
		}
	}
	return errors.Join(wrong...)
}
