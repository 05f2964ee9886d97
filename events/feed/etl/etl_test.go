package etl_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/feed/etl"
)

// Exports of two blocks in the schema of ethereum-etl, with invented values.
var exports = map[string]string{
	"blocks.csv": `number,hash,parent_hash,nonce,miner,difficulty,total_difficulty,size,extra_data,gas_limit,gas_used,timestamp,transaction_count,base_fee_per_gas
100,0xb100,0xb099,0x0000000000000042,0xaa,0,58750003716598352816469,40573,0x,30000000,9755040,1683029999,2,80869370967
101,0xb101,0xb100,0x0000000000000000,0xbb,0,58750003716598352816469,77412,,30000000,15491478,1683030011,0,
`,
	"transactions.csv": `hash,nonce,block_hash,block_number,transaction_index,from_address,to_address,value,gas,gas_price,input,block_timestamp,max_fee_per_gas,max_priority_fee_per_gas,transaction_type
0x02,7,0xb100,100,1,0xaa,0xbb,123456789012345678901234567890,21000,8000000000,0x,1683029999,,,0
0x01,6,0xb100,100,0,0xaa,,0,50000,8000000000,0x60,1683029999,9000000000,1000000000,2
`,
	"logs.csv": `log_index,transaction_hash,transaction_index,block_hash,block_number,address,data,topics
0,0x01,0,0xb100,100,0xcc,0x00,"0xdd,0x11"
1,0x02,1,0xb100,100,0xcc,0x01,0xdd|0x22
`,
	"token_transfers.csv": `token_address,from_address,to_address,value,transaction_hash,log_index,block_number
0xcc,0xaa,0xbb,115792089237316195423570985008687907853269984665640564039457584007913129639935,0x02,1,100
`,
}

// write puts texts into files and gives their paths.
func write(t *testing.T, texts map[string]string, names ...string) []string {
	t.Helper()
	folder := t.TempDir()
	var paths []string
	for _, name := range names {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(texts[name]), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

var appended = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

func read(t *testing.T, paths []string, change ...func(*etl.Files)) (entries []events.Entry, err error) {
	t.Helper()
	files := &etl.Files{
		Paths: paths, Chain: "ethereum", Now: func() time.Time { return appended },
		Parent: func(_ context.Context, number uint64) (string, error) {
			if number == 99 {
				return "known", nil
			}
			return "", nil
		},
	}
	for _, c := range change {
		c(files)
	}
	opened, err := files.Open(t.Context())
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
	}()
	for {
		entry, _, err := opened.Next()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return entries, err
		}
		entries = append(entries, entry)
	}
}

// contents gives what functions read of entries: each event's type, place and fields.
func contents(t *testing.T, entries []events.Entry) []string {
	t.Helper()
	var all []string
	var last events.ID
	for _, entry := range entries {
		d := events.NewDelivery("s", entry, last)
		last = entry.ID
		content, err := d.Open()
		if err != nil {
			t.Fatal(err)
		}
		for _, event := range content.Events {
			text, err := json.Marshal(event.Fields)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, event.Place.String()+" "+event.Type+" "+event.Time.Format(time.RFC3339)+" "+string(text))
		}
	}
	return all
}

func TestEthereum(t *testing.T) {
	t.Parallel()
	entries, err := read(t, write(t, exports, "logs.csv", "token_transfers.csv", "transactions.csv", "blocks.csv"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`100-0 block 2023-05-02T12:19:59Z {"base_fee_per_gas":80869370967,"difficulty":0,"extra_data":"0x","gas_limit":30000000,"gas_used":9755040,"hash":"0xb100","miner":"0xaa","nonce":"0x0000000000000042","number":100,"parent_hash":"0xb099","size":40573,"timestamp":1683029999,"total_difficulty":58750003716598352816469,"transaction_count":2}`,
		`100-1 transaction 2023-05-02T12:19:59Z {"block_hash":"0xb100","block_number":100,"block_timestamp":1683029999,"from_address":"0xaa","gas":50000,"gas_price":8000000000,"hash":"0x01","input":"0x60","max_fee_per_gas":9000000000,"max_priority_fee_per_gas":1000000000,"nonce":6,"transaction_index":0,"transaction_type":2,"value":0}`,
		`100-2 transaction 2023-05-02T12:19:59Z {"block_hash":"0xb100","block_number":100,"block_timestamp":1683029999,"from_address":"0xaa","gas":21000,"gas_price":8000000000,"hash":"0x02","input":"0x","nonce":7,"to_address":"0xbb","transaction_index":1,"transaction_type":0,"value":123456789012345678901234567890}`,
		`100-3 log 2023-05-02T12:19:59Z {"address":"0xcc","block_hash":"0xb100","block_number":100,"data":"0x00","log_index":0,"topics":["0xdd","0x11"],"transaction_hash":"0x01","transaction_index":0}`,
		`100-4 log 2023-05-02T12:19:59Z {"address":"0xcc","block_hash":"0xb100","block_number":100,"data":"0x01","log_index":1,"topics":["0xdd","0x22"],"transaction_hash":"0x02","transaction_index":1}`,
		`100-5 token_transfer 2023-05-02T12:19:59Z {"block_number":100,"from_address":"0xaa","log_index":1,"to_address":"0xbb","token_address":"0xcc","transaction_hash":"0x02","value":115792089237316195423570985008687907853269984665640564039457584007913129639935}`,
		`101-0 block 2023-05-02T12:20:11Z {"difficulty":0,"gas_limit":30000000,"gas_used":15491478,"hash":"0xb101","miner":"0xbb","nonce":"0x0000000000000000","number":101,"parent_hash":"0xb100","size":77412,"timestamp":1683030011,"total_difficulty":58750003716598352816469,"transaction_count":0}`,
	}
	if diff := cmp.Diff(want, contents(t, entries)); diff != "" {
		t.Error(diff)
	}
	hash, parent := entries[0].Link()
	if entries[0].ID != (events.ID{Minor: 101}) || hash != "0xb100" || parent != "0xb099" {
		t.Errorf("the first entry is %s, %s after %s", entries[0].ID, hash, parent)
	}
}

// TestSort reads exports whose rows come in any order, as several workers of an exporter write them.
func TestSort(t *testing.T) {
	t.Parallel()
	shuffled := map[string]string{}
	for name, text := range exports {
		lines := strings.SplitAfter(text, "\n")
		rows := lines[1 : len(lines)-1]
		slices.Reverse(rows)
		shuffled[name] = lines[0] + strings.Join(rows, "")
	}
	names := []string{"logs.csv", "token_transfers.csv", "transactions.csv", "blocks.csv"}
	want, err := read(t, write(t, exports, names...))
	if err != nil {
		t.Fatal(err)
	}
	got, err := read(t, write(t, shuffled, names...), func(f *etl.Files) { f.Sort = true })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestLists reads what CSV has for lists.
func TestLists(t *testing.T) {
	t.Parallel()
	texts := map[string]string{"blocks.csv": "number,hash,parent_hash,timestamp,withdrawals,blob_versioned_hashes,extra,flag\n" +
		`1,0xb1,0xb0,1683029999,"{""index"":1,""amount"":2},{""index"":2,""amount"":3}","0x01,0x02","{""a"":[1]}",true` + "\n" +
		`2,0xb2,0xb1,1683030011,"{""index"":3}","['0xaa', '0xbb']",12,` + "\n"}
	entries, err := read(t, write(t, texts, "blocks.csv"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`1-0 block 2023-05-02T12:19:59Z {"blob_versioned_hashes":["0x01","0x02"],"extra":{"a":[1]},"flag":true,"hash":"0xb1","number":1,"parent_hash":"0xb0","timestamp":1683029999,"withdrawals":[{"amount":2,"index":1},{"amount":3,"index":2}]}`,
		`2-0 block 2023-05-02T12:20:11Z {"blob_versioned_hashes":["0xaa","0xbb"],"extra":"12","hash":"0xb2","number":2,"parent_hash":"0xb1","timestamp":1683030011,"withdrawals":[{"index":3}]}`,
	}
	if diff := cmp.Diff(want, contents(t, entries)); diff != "" {
		t.Error(diff)
	}
}

// TestNothingHappened: a file of no rows is one of what did not happen.
func TestNothingHappened(t *testing.T) {
	t.Parallel()
	texts := map[string]string{"blocks.csv": exports["blocks.csv"], "transactions.csv": exports["transactions.csv"]}
	texts["logs.csv"], _, _ = strings.Cut(exports["logs.csv"], "\n")
	entries, err := read(t, write(t, texts, "logs.csv", "blocks.csv", "transactions.csv"))
	if err != nil || len(contents(t, entries)) != 4 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
}

// TestBitcoin reads JSON lines of bitcoin-etl, in two files of each kind; a nonce of digits alone is a text.
func TestBitcoin(t *testing.T) {
	t.Parallel()
	texts := map[string]string{
		"b1.json": `{"hash": "b100", "size": 215, "stripped_size": 215, "weight": 860, "number": 100, "version": 1, "merkle_root": "0e", "timestamp": "2009-01-11 03:00:00 UTC", "nonce": "99620301", "bits": "1d00ffff", "coinbase_param": "04", "transaction_count": 1}` + "\n",
		"b2.json": `{"type": "block", "hash": "b101", "size": 1, "number": 101, "version": 1, "timestamp": 1231646401, "nonce": "1e300000", "bits": "1d00ffff", "transaction_count": 1}` + "\n",
		"t1.json": `{"hash": "t1", "size": 134, "virtual_size": 134, "version": 1, "lock_time": 0, "block_number": 100, "block_hash": "b100", "block_timestamp": 1231642800, "input_count": 0, "output_count": 1, "is_coinbase": true, "inputs": [], "outputs": [{"index": 0, "type": "pubkey", "addresses": ["12"], "value": 5000000000}]}` + "\n",
		"t2.json": `{"type": "transaction", "hash": "t2", "block_number": 101, "inputs": null, "outputs": []}` + "\n",
	}
	entries, err := read(t, write(t, texts, "t1.json", "t2.json", "b1.json", "b2.json"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`100-0 block 2009-01-11T03:00:00Z {"bits":"1d00ffff","coinbase_param":"04","hash":"b100","merkle_root":"0e","nonce":"99620301","number":100,"size":215,"stripped_size":215,"timestamp":1231642800,"transaction_count":1,"version":1,"weight":860}`,
		`100-1 transaction 2009-01-11T03:00:00Z {"block_hash":"b100","block_number":100,"block_timestamp":1231642800,"hash":"t1","input_count":0,"inputs":[],"is_coinbase":true,"lock_time":0,"output_count":1,"outputs":[{"addresses":["12"],"index":0,"type":"pubkey","value":5000000000}],"size":134,"version":1,"virtual_size":134}`,
		`101-0 block 2009-01-11T04:00:01Z {"bits":"1d00ffff","hash":"b101","nonce":"1e300000","number":101,"size":1,"timestamp":1231646401,"transaction_count":1,"version":1}`,
		`101-1 transaction 2009-01-11T04:00:01Z {"block_number":101,"hash":"t2","outputs":[]}`,
	}
	if diff := cmp.Diff(want, contents(t, entries)); diff != "" {
		t.Error(diff)
	}
	for i, want := range []string{"known", "b100"} {
		if _, parent := entries[i].Link(); parent != want {
			t.Errorf("the parent of block %d is %s, want %s", 100+i, parent, want)
		}
	}
}

// TestRefused changes one thing of the exports.
func TestRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ file, old, new, want string }{
		"a block is missing":       {"blocks.csv", "\n101,", "\n102,", "blocks.csv, line 3: it is block 102 after block 100: none may be missing or there twice"},
		"a block twice":            {"blocks.csv", "\n101,", "\n100,", "blocks.csv, line 3: it is block 100 after block 100: none may be missing or there twice"},
		"another branch":           {"blocks.csv", ",0xb100,0x0000000000000000", ",0xb055,0x0000000000000000", "blocks.csv, line 3: its parent_hash is 0xb055, the block before it is 0xb100"},
		"blocks out of order":      {"blocks.csv", "\n101,", "\n99,", "blocks.csv, line 3: block 99 comes after block 100: let the feed put the rows in order with --sort"},
		"a transaction is missing": {"blocks.csv", ",2,80869370967", ",3,80869370967", "blocks.csv, line 2: it counts 3 transactions, the files have 2 of block 100"},
		"no number":                {"blocks.csv", ",40573,", ",0x9e7d,", `blocks.csv, line 2: size "0x9e7d" is no number`},
		"no time":                  {"blocks.csv", ",1683029999,2", ",soon,2", `blocks.csv, line 2: timestamp "soon": no time: Unix seconds or milliseconds, RFC 3339, or 2006-01-02 15:04:05 in UTC are expected`},
		"no height":                {"blocks.csv", "\n100,", "\nx,", `blocks.csv, line 2: number "x" is no block number`},
		"no hash":                  {"blocks.csv", ",0xb101,", ",,", "blocks.csv, line 3: it is no block, as other rows of its file"},
		"a log of a later block":   {"logs.csv", "0xb100,100,0xcc,0x01", "0xb100,102,0xcc,0x01", "logs.csv, line 3: no file has block 102, to which it belongs"},
		"a log of an earlier one":  {"logs.csv", "0xb100,100,0xcc,0x00", "0xb100,99,0xcc,0x00", "logs.csv, line 2: no file has block 99, to which it belongs"},
		"of another branch":        {"logs.csv", "0,0xb100,100,0xcc,0x00", "0,0xb055,100,0xcc,0x00", "logs.csv, line 2: it belongs to a block 0xb055, while block 100 is 0xb100"},
		"there twice":              {"logs.csv", "\n1,0x02", "\n0,0x02", "logs.csv, line 3: log 0 of block 100 is there twice"},
		"no transactions":          {"transactions.csv", exports["transactions.csv"], "", "transactions.csv is empty: leave it out, if it is none of transactions"},
		"no place":                 {"logs.csv", "\n1,0x02", "\nfirst,0x02", `logs.csv, line 3: log_index "first" is no place in a block`},
		"other columns":            {"logs.csv", "log_index", "number_of_log", "logs.csv, line 2: its columns are those of no blocks, transactions, logs or token transfers in the schemas of ethereum-etl or bitcoin-etl"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changed := maps.Clone(exports)
			changed[c.file] = strings.Replace(changed[c.file], c.old, c.new, 1)
			_, err := read(t, write(t, changed, "blocks.csv", "transactions.csv", "logs.csv", "token_transfers.csv"))
			if err == nil || !strings.HasSuffix(err.Error(), c.want) {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
	if _, err := read(t, write(t, exports, "logs.csv")); err == nil || !strings.Contains(err.Error(), "no file has blocks") {
		t.Errorf("without blocks: %v", err)
	}
}
