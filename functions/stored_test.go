package functions_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// TestStoredStates holds the encodings to what databases have. Where one of these fails, states that are stored can no
// longer be read, or are written in another way than a function of the version before does during an update: give the
// encoding another version, and keep reading this one.
func TestStoredStates(t *testing.T) {
	t.Parallel()
	first := time.Date(2009, 1, 3, 18, 15, 5, 0, time.UTC)
	numbers := func(texts ...string) (all []metric.Observation) {
		for i, text := range texts {
			n, err := decimal.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, metric.Observation{
				Time:   first.Add(time.Duration(i) * time.Minute),
				Place:  metric.Place{Event: events.ID{Major: 1, Minor: uint64(200 + i)}, Element: i},
				Number: n,
			})
		}
		return all
	}
	elements := func(n int) (all []metric.Observation) {
		for i := range n {
			all = append(all, metric.Observation{Elements: []string{"address " + strconv.Itoa(i)}})
		}
		return all
	}
	cases := map[string]struct {
		kind, aggregate string
		observations    []metric.Observation
		encoded         string // in hexadecimal; of what is longer than 1000 bytes its SHA-256
		value, detail   string
	}{
		"sum": {
			"counter", "sum", numbers("1.5", "-18446744073709551616"),
			"0102130109fffffffffffffff1", "-18446744073709551614.5", "",
		},
		"count": {"counter", "count", numbers("1", "1", "1"), "0103", "3", ""},
		"hashes": {
			"counter", "distinct", elements(3),
			"01015d5f690bf7c48e449c3f36a369df5cb7ab5d6275e6628ede", "3", "",
		},
		"registers": {
			"counter", "distinct", elements(10_000),
			"1461c988afd072319847267717455749755334b0cb2855e41706f88879005601", "10027", `{"relative_error": 0.0081}`,
		},
		"no reading": {"gauge", "last", nil, "0100", "0", ""},
		"one reading": {
			"gauge", "last", numbers("-0.25"),
			"010180f1929781e6af0401c80100030319",
			"-0.25", `{"first":-0.25,"last":-0.25,"min":-0.25,"max":-0.25,"avg":-0.25,"count":1}`,
		},
		"three readings": {
			"gauge", "avg", numbers("7", "-0.25", "1e21"),
			"010380f1929781e6af0401c8010002000780a9cb8982e6af0401ca0102022a01030319022a011403152d02c7e14af68002a3",
			"333333333333333333335.583333333333333333",
			`{"first":7,"last":1000000000000000000000,"min":-0.25,"max":1000000000000000000000,` +
				`"avg":333333333333333333335.583333333333333333,"count":3}`,
		},
		"no values": {"histogram", "sketch", nil, "0133000000", "0", ""},
		"values and zeros": {
			"histogram", "sketch", numbers("100", "0", "-3", "0.001", "100", "101.5"),
			"01330103930701cb0602010101fe01010605048e050a0b070eb0f851030003040103f7",
			"49.750166666666666667",
			`{"count":6,"sum":298.501,"mean":49.750166666666666667,"stddev":55.607149721655997378,"min":-3,"max":101.5,` +
				`"p25":0,"p50":0.001005194,"p75":99.76076,"p90":99.76076,"p95":99.76076,"p99":99.76076,"relative_error":0.009709}`,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kind, definition := kindOf(t, c.kind, c.aggregate)
			state := kind.NewState(definition)
			for _, o := range c.observations {
				observe(t, state, o)
			}
			encoded := state.Encode()
			if got := fingerprint(encoded); got != c.encoded {
				t.Errorf("the state is written as %s, not %s", got, c.encoded)
			}
			stored, err := kind.DecodeState(definition, encoded)
			if err != nil {
				t.Fatal(err)
			}
			if again := stored.Encode(); !bytes.Equal(again, encoded) {
				t.Errorf("what was read is written as %x", again)
			}
			if value, detail := stored.Value(); value.String() != c.value || string(detail) != c.detail {
				t.Errorf("what was read shows %s %s, not %s %s", value, detail, c.value, c.detail)
			}
		})
	}
}

// kindOf gives a metric type, and a definition of it with its defaults.
func kindOf(t *testing.T, name, aggregateName string) (aggregate.Type, metric.Definition) {
	t.Helper()
	for _, kind := range functions.Types {
		if may := kind.Definitions(); may.Name == name {
			return kind, metric.Definition{Type: name, Aggregate: aggregateName, RelativeError: may.RelativeError}
		}
	}
	t.Fatalf("no metric type %s", name)
	return nil, metric.Definition{}
}

func fingerprint(encoded []byte) string {
	if len(encoded) > 1000 {
		sum := sha256.Sum256(encoded)
		return hex.EncodeToString(sum[:])
	}
	return hex.EncodeToString(encoded)
}
