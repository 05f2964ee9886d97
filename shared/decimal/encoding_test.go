package decimal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/chainmetrics/chainmetrics/shared/decimal"
)

func TestParse(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text string
		want string
		err  error
	}{
		"whole":                     {"12", "12", nil},
		"negative":                  {"-12", "-12", nil},
		"negative zero":             {"-0", "0", nil},
		"trailing zeros":            {"1.2500", "1.25", nil},
		"exponent":                  {"1.5e3", "1500", nil},
		"capital exponent":          {"15E-1", "1.5", nil},
		"signed exponent":           {"1e+2", "100", nil},
		"exponent of zeros":         {"1e-000000000000", "1", nil},
		"exponent after zeros":      {"1e0000000000003", "1000", nil},
		"zero with any exponent":    {"0e99999999999999999999", "0", nil},
		"20 digits":                 {"99999999999999999999", "99999999999999999999", nil},
		"19 digits and a fraction":  {"1234567890.123456789", "1234567890.123456789", nil},
		"greatest":                  {"1e1000", "1" + strings.Repeat("0", 1000), nil},
		"smallest":                  {"1e-1000", "0." + strings.Repeat("0", 999) + "1", nil},
		"smallest, written longer":  {"10e-1001", "0." + strings.Repeat("0", 999) + "1", nil},
		"too great":                 {"1.1e1000", "", decimal.ErrRange},
		"too small":                 {"1e-1001", "", decimal.ErrRange},
		"absurd exponent":           {"1e999999999999999999999", "", decimal.ErrRange},
		"absurd negative exponent":  {"1e-999999999999999999999", "", decimal.ErrRange},
		"absurd length":             {strings.Repeat("1", 1_000_000), "", decimal.ErrRange},
		"empty":                     {"", "", decimal.ErrSyntax},
		"sign alone":                {"-", "", decimal.ErrSyntax},
		"plus":                      {"+1", "", decimal.ErrSyntax},
		"leading zero":              {"01", "", decimal.ErrSyntax},
		"no digit before the point": {".5", "", decimal.ErrSyntax},
		"no digit after the point":  {"5.", "", decimal.ErrSyntax},
		"no digit in the exponent":  {"5e", "", decimal.ErrSyntax},
		"no digit after the sign":   {"5e-", "", decimal.ErrSyntax},
		"two points":                {"1.2.3", "", decimal.ErrSyntax},
		"hexadecimal":               {"0x1f", "", decimal.ErrSyntax},
		"not a number":              {"NaN", "", decimal.ErrSyntax},
		"infinity":                  {"Infinity", "", decimal.ErrSyntax},
		"white space":               {" 1", "", decimal.ErrSyntax},
		"underscore":                {"1_000", "", decimal.ErrSyntax},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := decimal.Parse(test.text)
			if !errors.Is(err, test.err) {
				t.Fatalf("got error %v, want %v", err, test.err)
			}
			if err == nil && got.String() != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	data, err := json.Marshal(parse(t, "1e23"))
	if err != nil || string(data) != `"100000000000000000000000"` {
		t.Fatalf("got %s, %v", data, err)
	}
	var back decimal.Decimal
	if err := json.Unmarshal(data, &back); err != nil || !back.Equal(parse(t, "1e23")) {
		t.Errorf("got %s, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`"one"`), &back); !errors.Is(err, decimal.ErrSyntax) {
		t.Errorf("got %v", err)
	}
}

func TestBinary(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		number string
		want   []byte
	}{
		"zero":     {"0.00", []byte{0}},
		"one":      {"1", []byte{2, 0, 1}},
		"minus":    {"-1", []byte{3, 0, 1}},
		"thousand": {"1000", []byte{2, 6, 1}},
		"half":     {"0.50", []byte{2, 1, 5}},
		"two":      {"258", []byte{4, 0, 1, 2}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			number := parse(t, test.number)
			got := number.AppendBinary(nil)
			if !bytes.Equal(got, test.want) {
				t.Fatalf("got % x, want % x", got, test.want)
			}
			back, rest, err := decimal.Decode(append(got, 7, 8))
			if err != nil || !back.Equal(number) || !bytes.Equal(rest, []byte{7, 8}) {
				t.Errorf("got %s, % x, %v", back, rest, err)
			}
		})
	}
}

func TestDecodeIsStrict(t *testing.T) {
	t.Parallel()
	for name, encoded := range map[string][]byte{
		"empty":              nil,
		"header alone":       {2},
		"no coefficient":     {2, 0},
		"short coefficient":  {4, 0, 1},
		"negative zero":      {1, 0},
		"long header":        {0x82, 0, 0, 1},
		"endless header":     bytes.Repeat([]byte{0xff}, 20),
		"long exponent":      {2, 0x80, 0, 1},
		"leading zero":       {4, 0, 0, 1},
		"multiple of ten":    {2, 0, 10},
		"exponent too great": {2, 0xd2, 0x0f, 1}, // 1001
		"exponent too small": {2, 0xd1, 0x0f, 1}, // -1001
		"number too great":   {2, 0xd0, 0x0f, 2}, // 2e1000
		"absurd length":      append([]byte{0xfe, 0xff, 0xff, 0xff, 0x0f, 0}, make([]byte, 100)...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, _, err := decimal.Decode(encoded); !errors.Is(err, decimal.ErrSyntax) {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
}

// What is parsed has one text and one encoding, whichever way it was written.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"0", "-0.0", "1e23", "1.50", "15e-1", "-1e-1000", "1e1000", "123456789012345678901234567890.5", "0e9"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := decimal.Parse(text)
		if err != nil {
			if !errors.Is(err, decimal.ErrSyntax) && !errors.Is(err, decimal.ErrRange) {
				t.Fatalf("parse %q: %v", text, err)
			}
			if errors.Is(err, decimal.ErrSyntax) && json.Valid([]byte(text)) && strings.Trim(text, "-+.0123456789eE") == "" && text != "" {
				t.Fatalf("%q is a number of JSON: %v", text, err)
			}
			return
		}
		if !json.Valid([]byte(text)) {
			t.Fatalf("%q is no number of JSON", text)
		}
		again := parse(t, d.String())
		if !again.Equal(d) || again.String() != d.String() {
			t.Fatalf("%q: got %s, then %s", text, d, again)
		}
		encoded := d.AppendBinary(nil)
		if !bytes.Equal(encoded, again.AppendBinary(nil)) {
			t.Fatalf("%q has two encodings", text)
		}
		decoded, rest, err := decimal.Decode(encoded)
		if err != nil || len(rest) > 0 || !decoded.Equal(d) || decoded.String() != d.String() {
			t.Fatalf("%q: decoded %s, % x, %v", text, decoded, rest, err)
		}
	})
}

// Whatever is decoded is encoded to the same bytes again.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"0", "1", "-0.001", "1e1000", "18446744073709551616"} {
		d, err := decimal.Parse(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(d.AppendBinary(nil))
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		d, rest, err := decimal.Decode(encoded)
		if err != nil {
			if !errors.Is(err, decimal.ErrSyntax) {
				t.Fatalf("decode % x: %v", encoded, err)
			}
			return
		}
		if again := append(d.AppendBinary(nil), rest...); !bytes.Equal(again, encoded) {
			t.Fatalf("% x decoded and encoded: % x", encoded, again)
		}
		if parsed := parse(t, d.String()); !parsed.Equal(d) {
			t.Fatalf("%s parsed: %s", d, parsed)
		}
	})
}
