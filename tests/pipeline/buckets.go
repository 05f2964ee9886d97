package pipeline

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chainmetrics/chainmetrics/tests/oracle"
)

// shown is how many differences are told of.
const shown = 12

// Buckets reads the values of all buckets, in the form of the oracle.
func Buckets(t testing.TB, database *pgxpool.Pool) map[oracle.Key]string {
	t.Helper()
	const query = `select metric, bucket_size, to_char(bucket_start at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
			dimensions::text, trim_scale(value)::text
		from metric_buckets`
	rows, err := database.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	values := map[oracle.Key]string{}
	var key oracle.Key
	var value string
	fields := []any{&key.Metric, &key.Size, &key.Start, &key.Dimensions, &value}
	if _, err := pgx.ForEachRow(rows, fields, func() error {
		key.Dimensions = compact(t, key.Dimensions)
		values[key] = value
		return nil
	}); err != nil {
		t.Fatalf("read buckets: %v", err)
	}
	return values
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

// Expected gives what the oracle computes from a block file.
func Expected(t testing.TB, file string) map[oracle.Key]string {
	t.Helper()
	expected, err := oracle.Buckets(file)
	if err != nil {
		t.Fatal(err)
	}
	return expected
}

// Differences compares all buckets with what is expected. It is empty where they are the same.
func Differences(t testing.TB, database *pgxpool.Pool, expected map[oracle.Key]string) string {
	t.Helper()
	got := Buckets(t, database)
	different := map[oracle.Key]bool{}
	for key := range got {
		different[key] = got[key] != expected[key]
	}
	for key := range expected {
		different[key] = got[key] != expected[key]
	}
	maps.DeleteFunc(different, func(_ oracle.Key, is bool) bool { return !is })
	if len(different) == 0 {
		return ""
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%d of %d buckets differ:", len(different), len(expected))
	sorted := slices.SortedFunc(maps.Keys(different), func(a, b oracle.Key) int {
		return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
	})
	for _, key := range sorted[:min(shown, len(sorted))] {
		fmt.Fprintf(&text, "\n\t%s %s %s %s is %q, want %q", key.Metric, key.Size, key.Start, key.Dimensions, got[key], expected[key])
	}
	return text.String()
}
