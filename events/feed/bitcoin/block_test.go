package bitcoin

import (
	"encoding/hex"
	"encoding/json"
	"math/big"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/google/go-cmp/cmp"
)

func TestSample(t *testing.T) {
	t.Parallel()
	chain := open(t, Config{Files: samplePath(t), InputValues: true})
	if diff := cmp.Diff(Summary{Files: 1, Blocks: sampleBlocks}, chain.Summary()); diff != "" {
		t.Error(diff)
	}
	checkSample(t, chain)

	var subsidy, fees, median int64
	backwards := 0
	for number := range uint64(sampleBlocks) {
		b, err := chain.Read(t.Context(), number)
		if err != nil {
			t.Fatal(err)
		}
		subsidy += b.Subsidy
		fees += b.Fees
		if b.SecondsSinceParent != nil && *b.SecondsSinceParent < 0 {
			backwards++
		}
		if b.MedianTime == nil || *b.MedianTime < median {
			t.Fatalf("median time of block %d runs backwards", number)
		}
		median = *b.MedianTime
		if *b.InputValue+b.Subsidy+b.Fees != b.OutputValue+sum(b.Transactions) {
			t.Fatalf("block %d does not balance", number)
		}
	}
	if want := int64(706_600_0000_0000); subsidy != want {
		t.Errorf("subsidy is %d satoshi, want %d", subsidy, want)
	}
	if backwards != 108 {
		t.Errorf("%d headers run backwards, want 108", backwards)
	}
	t.Logf("fees: %d satoshi", fees)
}

// sum adds the fees.
func sum(transactions []Transaction) (fees int64) {
	for _, tx := range transactions {
		fees += *tx.Fee
	}
	return fees
}

// The genesis block and block 170, the first with a payment between people, as any block explorer shows them.
func TestKnownBlocks(t *testing.T) {
	t.Parallel()
	chain := open(t, Config{Files: samplePath(t), InputValues: true})
	genesis, err := chain.Read(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	want := Block{
		Hash:              "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
		PreviousBlockHash: "0000000000000000000000000000000000000000000000000000000000000000",
		Version:           1,
		MerkleRoot:        "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b",
		Timestamp:         1231006505, MedianTime: new(int64(1231006505)),
		Nonce: "7c2bac1d", Bits: "1d00ffff", Difficulty: "1",
		Size: 285, StrippedSize: 285, Weight: 1140,
		CoinbaseParam: "04ffff001d0104" + hex.EncodeToString(append([]byte{0x45},
			"The Times 03/Jan/2009 Chancellor on brink of second bailout for banks"...)),
		TransactionCount: 1, Subsidy: 50_0000_0000, InputValue: new(int64(0)), OutputCount: 1, OutputValue: 50_0000_0000,
		Transactions: []Transaction{{
			Type: "transaction",
			Hash: "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b",
			Size: 204, VirtualSize: 204, Weight: 816, Version: 1,
			BlockHash:      "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
			BlockTimestamp: 1231006505, IsCoinbase: true, InputValue: new(int64(0)), Fee: new(int64(0)),
			OutputCount: 1, OutputValue: 50_0000_0000, Inputs: []Input{},
			Outputs: []Output{{
				ScriptHex: "4104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac",
				Type:      "pubkey", Addresses: []string{"1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"}, Value: 50_0000_0000,
			}},
		}},
	}
	if diff := cmp.Diff(&want, genesis); diff != "" {
		t.Error(diff)
	}

	b, err := chain.Read(t.Context(), 170)
	if err != nil {
		t.Fatal(err)
	}
	if b.Hash != "00000000d1145790a8694403d4063f323d499e655c83426834d4ce2f8dd4a2ee" || b.TransactionCount != 2 ||
		b.InputCount != 1 || b.OutputCount != 3 || *b.InputValue != 50_0000_0000 || b.Fees != 0 {
		t.Errorf("block 170 is %+v", b)
	}
	payment := b.Transactions[1]
	if payment.Hash != "f4184fc596403b9d638783cf57adfe4c75c605f6356fbc91338530e9831e9e16" || *payment.Fee != 0 {
		t.Errorf("the payment is %+v", payment)
	}
	from := Input{
		SpentTransactionHash: "0437cd7f8525ceed2324359c2d0ba26006d92d856a9c20fa0241106ee5a597c9",
		ScriptHex:            payment.Inputs[0].ScriptHex, Sequence: 4294967295,
		Spent: &Spent{Type: "pubkey", Addresses: []string{"12cbQLTFMXRnSzktFkuoG3eHoMeFtpTu3S"}, Value: 50_0000_0000},
	}
	if diff := cmp.Diff([]Input{from}, payment.Inputs); diff != "" {
		t.Error(diff)
	}
	if out := payment.Outputs[0]; out.Value != 10_0000_0000 || out.Addresses[0] != "1Q2TWHE3GMdB6BZKafqwxXtWAWgFt5Jvm3" {
		t.Errorf("the payment's first output is %+v", out)
	}
}

func TestAbsentInputValues(t *testing.T) {
	t.Parallel()
	chain := open(t, Config{Files: samplePath(t)})
	b, err := chain.Read(t.Context(), 170)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	remarshal(t, b, &fields)
	absent(t, fields, "input_value")
	remarshal(t, b.Transactions[1], &fields)
	absent(t, fields, "input_value", "fee")
	absent(t, fields["inputs"].([]any)[0].(map[string]any), "value", "addresses", "type")
	if fields["inputs"].([]any)[0].(map[string]any)["spent_output_index"] != 0.0 {
		t.Error("the input does not name what it spends")
	}
}

func remarshal(t *testing.T, from any, into *map[string]any) {
	t.Helper()
	text, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	*into = nil
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

func absent(t *testing.T, fields map[string]any, names ...string) {
	t.Helper()
	for _, name := range names {
		if value, ok := fields[name]; ok {
			t.Errorf("%s is %v, want it absent", name, value)
		}
	}
}

func TestDifficulty(t *testing.T) {
	t.Parallel()
	for bits, want := range map[uint32]string{
		0x1d00ffff: "1",
		0x1d00d86a: "1.182899534312841",      // block 32256
		0x1b0404cb: "16307.42093852398",      // block 100800
		0x1703255b: "89471664776970.77",      // block 860000
		0x207fffff: "0.00000000046565423739", // regtest: 4.656542373906925e-10
	} {
		got := difficulty(bits)
		if bits == 0x207fffff {
			want = "0.0000000004656542373906925"
		}
		if got != want {
			t.Errorf("difficulty of %08x is %s, want %s", bits, got, want)
		}
	}
}

func TestTarget(t *testing.T) {
	t.Parallel()
	if target(0x1d00ffff).Cmp(chaincfg.MainNetParams.PowLimit) > 0 {
		t.Error("the easiest target is beyond the limit")
	}
	for bits, want := range map[uint32]string{
		0x01003456: "0", 0x01123456: "12", 0x02008000: "80", 0x05009234: "92340000", 0x04923456: "0", 0x04123456: "12345600",
	} { // Bitcoin Core's arith_uint256 tests; negative ones give zero
		if got := target(bits).Text(16); got != want {
			t.Errorf("target of %08x is %s, want %s", bits, got, want)
		}
	}
	if got := work(0x1d00ffff); got.Cmp(big.NewInt(0x100010001)) != 0 {
		t.Errorf("work of the genesis block is %s", got)
	}
}

func TestSubsidy(t *testing.T) {
	t.Parallel()
	const interval = 210_000
	for number, want := range map[uint64]int64{
		0: 50_0000_0000, 209_999: 50_0000_0000, 210_000: 25_0000_0000, 840_000: 3_1250_0000,
		32 * interval: 1, 33 * interval: 0, 64 * interval: 0, 1 << 60: 0,
	} {
		if got := subsidy(number, interval); got != want {
			t.Errorf("subsidy at %d is %d, want %d", number, got, want)
		}
	}
	var total int64
	for era := range uint64(64) {
		total += subsidy(era*interval, interval) * interval
	}
	if total != 20_999_999_9769_0000 {
		t.Errorf("all subsidies are %d satoshi", total)
	}
}

func TestRecipients(t *testing.T) {
	t.Parallel()
	chain := &Chain{params: &chaincfg.MainNetParams}
	tests := map[string]struct {
		script    string
		form      string
		addresses []string
	}{
		"pay to script hash": {"a914748284390f9e263a4b766a75d0633c50426eb87587", "scripthash", []string{"3CK4fEwbMP7heJarmU4eqA3sMbVJyEnU3V"}},
		"witness key hash":   {"0014751e76e8199196d454941c45d1b3a323f1433bd6", "witness_v0_keyhash", []string{"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"}},
		"taproot":            {"512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", "witness_v1_taproot", []string{"bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"}},
		"future witness":     {"5210751e76e8199196d454941c45d1b3a323", "witness_unknown", []string{}},
		"null data":          {"6a0468656c6c", "nulldata", []string{}},
		"empty":              {"", "nonstandard", []string{}},
		"broken push":        {"4d", "nonstandard", []string{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			script, err := hex.DecodeString(test.script)
			if err != nil {
				t.Fatal(err)
			}
			form, addresses := chain.recipients(script)
			if form != test.form || !cmp.Equal(addresses, test.addresses) {
				t.Errorf("got %s %q, want %s %q", form, addresses, test.form, test.addresses)
			}
		})
	}
}
