package pipeline

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chainmetrics/chainmetrics/tests/oracle"
)

// shown is how many differences are told of.
const shown = 12

// shownBucket is what the store has of a bucket.
type shownBucket struct {
	value  string
	detail map[string]json.Number // value_json; a null in it is the empty text
}

// buckets reads all buckets.
func buckets(t testing.TB, database *pgxpool.Pool) map[oracle.Key]shownBucket {
	t.Helper()
	const query = `select metric, bucket_size, to_char(bucket_start at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
			dimensions::text, trim_scale(value)::text, value_json::text
		from metric_buckets`
	rows, err := database.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	all := map[oracle.Key]shownBucket{}
	var key oracle.Key
	var value string
	var detail *string
	fields := []any{&key.Metric, &key.Size, &key.Start, &key.Dimensions, &value, &detail}
	if _, err := pgx.ForEachRow(rows, fields, func() error {
		key.Dimensions = compact(t, key.Dimensions)
		b := shownBucket{value: value}
		if detail != nil {
			if err := json.Unmarshal([]byte(*detail), &b.detail); err != nil {
				t.Fatalf("read value_json %s: %v", *detail, err)
			}
		}
		all[key] = b
		return nil
	}); err != nil {
		t.Fatalf("read buckets: %v", err)
	}
	return all
}

// compact gives a JSON object of strings without spaces, its names sorted.
func compact(t testing.TB, object string) string {
	t.Helper()
	if object == "{}" {
		return object
	}
	var dimensions map[string]string
	if err := json.Unmarshal([]byte(object), &dimensions); err != nil {
		t.Fatalf("read dimensions %s: %v", object, err)
	}
	text, err := json.Marshal(dimensions)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Expected gives what the oracle computes from a block file for metrics of some types, or of all where none is named.
func Expected(t testing.TB, file string, types ...string) map[oracle.Key]oracle.Value {
	t.Helper()
	expected, err := oracle.Buckets(file, types...)
	if err != nil {
		t.Fatal(err)
	}
	return expected
}

// Differences compares all buckets with what is expected. It is empty where they are the same.
func Differences(t testing.TB, database *pgxpool.Pool, expected map[oracle.Key]oracle.Value) string {
	t.Helper()
	got := buckets(t, database)
	different := map[oracle.Key]string{}
	for key, b := range got {
		if _, ok := expected[key]; !ok {
			different[key] = fmt.Sprintf("is %s, want none", b.value)
		}
	}
	for key, want := range expected {
		b, ok := got[key]
		if !ok {
			different[key] = fmt.Sprintf("is missing, want %s", want.Value)
		} else if difference := b.differs(t, want); difference != "" {
			different[key] = difference
		}
	}
	if len(different) == 0 {
		return ""
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%d of %d buckets differ:", len(different), len(expected))
	sorted := slices.SortedFunc(maps.Keys(different), func(a, b oracle.Key) int {
		return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
	})
	for _, key := range sorted[:min(shown, len(sorted))] {
		fmt.Fprintf(&text, "\n\t%s %s %s %s %s", key.Metric, key.Size, key.Start, key.Dimensions, different[key])
	}
	return text.String()
}

// differs tells how a bucket differs from what is expected. Quantiles may lie as far from the exact ones as the bucket says.
func (b shownBucket) differs(t testing.TB, want oracle.Value) string {
	t.Helper()
	if b.value != want.Value {
		return fmt.Sprintf("is %s, want %s", b.value, want.Value)
	}
	for name, exact := range want.Exact {
		if shown := cmp.Or(b.detail[name].String(), "null"); shown != exact {
			return fmt.Sprintf("has %s %s, want %s", name, shown, exact)
		}
	}
	for name, exact := range want.Quantiles {
		got, want, most := rational(t, b.detail[name].String()), rational(t, exact), rational(t, b.detail["relative_error"].String())
		if off := new(big.Rat).Sub(got, want); off.Abs(off).Cmp(most.Mul(most, new(big.Rat).Abs(want))) > 0 {
			return fmt.Sprintf("has %s %s, want %s within %s of it", name, b.detail[name], exact, b.detail["relative_error"])
		}
	}
	if extra := len(b.detail) - len(want.Exact) - len(want.Quantiles); extra > 1 || extra == 1 && want.Quantiles == nil {
		return fmt.Sprintf("shows more than %v", want)
	}
	return ""
}

func rational(t testing.TB, text string) *big.Rat {
	t.Helper()
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		t.Fatalf("%q is no number", text)
	}
	return r
}
