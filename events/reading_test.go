package events_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
)

const (
	genesisHash = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
	firstHash   = "00000000839a8e6886ab5951d76f411475428afc90947ee320161bbf18eb6048"
)

var (
	firstTime = time.Date(2009, time.January, 9, 2, 54, 25, 0, time.UTC)
	appended  = time.Date(2024, time.February, 29, 23, 59, 59, 123_000_000, time.UTC)
)

// block is block 1 of Bitcoin, with one transaction.
func block() events.Block {
	return events.Block{
		Chain: "bitcoin", Number: 1, Hash: firstHash, ParentHash: genesisHash, Time: firstTime,
		Fields: map[string]any{"number": 1, "hash": firstHash, "timestamp": firstTime.Unix(), "size": 215},
		Events: []any{map[string]any{"type": "transaction", "hash": "0e3e", "output_value": json.Number("5000000000")}},
	}
}

func blockEntry(t *testing.T, change func(*events.Block)) events.Entry {
	t.Helper()
	b := block()
	if change != nil {
		change(&b)
	}
	entry, err := events.NewBlockEntry(events.ID{Minor: 2}, b, appended)
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

// flat makes an entry of an open stream of alternating names and values, appended at the test's append time.
func flat(namesAndValues ...string) events.Entry {
	entry := events.Entry{ID: events.ID{Major: uint64(appended.UnixMilli())}}
	for pair := range slices.Chunk(namesAndValues, 2) {
		entry.Fields = append(entry.Fields, events.Field{Name: pair[0], Value: pair[1]})
	}
	return entry
}

// byFeed gives the entry an id of a feed, which is no time.
func byFeed(entry events.Entry) events.Entry {
	entry.ID = events.ID{Major: 18_937_382, Minor: 1}
	return entry
}

func set(entry events.Entry, name, value string) events.Entry {
	var fields []events.Field
	for _, f := range entry.Fields {
		if f.Name != name {
			fields = append(fields, f)
		}
	}
	if value != "" {
		fields = append(fields, events.Field{Name: name, Value: value})
	}
	return events.Entry{ID: entry.ID, Fields: fields}
}

func TestReadBlock(t *testing.T) {
	t.Parallel()
	d := events.NewDelivery("blockchain_events:bitcoin", blockEntry(t, nil), events.ID{Minor: 1})
	if d.Type != events.TypeBlock || d.Hash != firstHash || d.Chain != "bitcoin" || !d.Time.Equal(firstTime) ||
		!d.Appended.Equal(appended) || d.Predecessor != (events.ID{Minor: 1}) {
		t.Errorf("delivery is %+v", d)
	}
	content, err := d.Open()
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]any{
		"number": json.Number("1"), "hash": firstHash, "timestamp": json.Number("1231469665"), "size": json.Number("215"),
	}
	want := events.Content{Events: []events.Event{
		{Type: "block", Chain: "bitcoin", Time: firstTime, Place: events.ID{Major: 1}, Fields: fields, Block: fields},
		{
			Type: "transaction", Chain: "bitcoin", Time: firstTime, Place: events.ID{Major: 1, Minor: 1}, Block: fields,
			Fields: map[string]any{"hash": "0e3e", "output_value": json.Number("5000000000")},
		},
	}}
	if diff := cmp.Diff(want, content); diff != "" {
		t.Error(diff)
	}
}

func TestReadEvent(t *testing.T) {
	t.Parallel()
	entry := flat(
		"type", "token_transfer", "chain", "ethereum", "timestamp", "1709251199.123456789",
		"value", "123456789012345678901234567890", "to", "0xabc", "ok", "true", "none", "null", "list", `[1,{"a":"b"}]`,
		"hash", "4e73910abc", "id", "12e34567", "quoted", `"x"`, "html", "<&>", "padded", " 1", "leading", "007",
		"chainmetrics.note", "left out", "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"tracestate", "a=b",
	)
	d := events.NewDelivery("blockchain_events", entry, events.ID{})
	content, err := d.Open()
	if err != nil {
		t.Fatal(err)
	}
	want := events.Content{Events: []events.Event{{
		Type: "token_transfer", Chain: "ethereum", Time: time.Date(2024, time.February, 29, 23, 59, 59, 123_456_000, time.UTC),
		Place: entry.ID,
		Fields: map[string]any{
			"timestamp": json.Number("1709251199.123456789"), "value": json.Number("123456789012345678901234567890"),
			"to": "0xabc", "ok": true, "none": nil, "list": []any{json.Number("1"), map[string]any{"a": "b"}},
			"hash": "4e73910abc", "id": "12e34567", "quoted": `"x"`, "html": "<&>", "padded": " 1", "leading": "007",
		},
	}}}
	if diff := cmp.Diff(want, content); diff != "" {
		t.Error(diff)
	}
	if d.Traceparent == "" || d.Tracestate != "a=b" {
		t.Errorf("trace is %q, %q", d.Traceparent, d.Tracestate)
	}
}

func TestReadJSON(t *testing.T) {
	t.Parallel()
	entry := flat("json", `{"type": "swap", "chain": "ethereum", "timestamp": 1709251199.5, "amount": 123456789012345678901234567890, `+
		`"route": [{"pool": "a"}], "text": "007"}`, "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	d := events.NewDelivery("s", entry, events.ID{})
	content, err := d.Open()
	if err != nil {
		t.Fatal(err)
	}
	want := events.Content{Events: []events.Event{{
		Type: "swap", Chain: "ethereum", Time: time.Date(2024, time.February, 29, 23, 59, 59, 500_000_000, time.UTC), Place: entry.ID,
		Fields: map[string]any{
			"timestamp": json.Number("1709251199.5"), "amount": json.Number("123456789012345678901234567890"),
			"route": []any{map[string]any{"pool": "a"}}, "text": "007",
		},
	}}}
	if diff := cmp.Diff(want, content); diff != "" || d.Traceparent == "" {
		t.Error(diff, d.Traceparent)
	}
	beside := events.NewDelivery("s", flat("json", "{}", "type", "x", "chain", "c", "timestamp", "1709251199"), events.ID{})
	if content, err = beside.Open(); err != nil || content.Events[0].Fields["json"] == nil {
		t.Errorf("beside other fields it is one of them: %v, %v", content, err)
	}
}

func TestReadRevert(t *testing.T) {
	t.Parallel()
	want := events.Revert{Ancestor: events.ID{Minor: 100}, Number: 1<<63 - 1, Hash: firstHash}
	entry, err := events.NewRevertEntry(events.ID{Major: 1}, "bitcoin", want, appended)
	if err != nil {
		t.Fatal(err)
	}
	content, err := events.NewDelivery("s", entry, events.ID{Minor: 102}).Open()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&want, content.Revert); diff != "" || content.Events != nil {
		t.Error(diff, content.Events)
	}
	if tip, parent := entry.Link(); tip != firstHash || parent != "" {
		t.Errorf("link is %q, %q", tip, parent)
	}
}

func TestTimestamps(t *testing.T) {
	t.Parallel()
	tests := map[string]time.Time{
		"0":                              time.Unix(0, 0),
		"1231006505":                     time.Date(2009, time.January, 3, 18, 15, 5, 0, time.UTC),
		"1231006505.0000019":             time.Date(2009, time.January, 3, 18, 15, 5, 1_000, time.UTC),
		"1231006505.5":                   time.Date(2009, time.January, 3, 18, 15, 5, 500_000_000, time.UTC),
		"2009-01-03T18:15:05Z":           time.Date(2009, time.January, 3, 18, 15, 5, 0, time.UTC),
		"2009-01-03T19:15:05.25+01:00":   time.Date(2009, time.January, 3, 18, 15, 5, 250_000_000, time.UTC),
		"2009-01-03 18:15:05 UTC":        time.Date(2009, time.January, 3, 18, 15, 5, 0, time.UTC),
		"2009-01-03 18:15:05.123456 UTC": time.Date(2009, time.January, 3, 18, 15, 5, 123_456_000, time.UTC),
		"2024-03-01T23:59:59.123Z":       appended.Add(24 * time.Hour), // the last that is accepted
	}
	for text, want := range tests {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			d := events.NewDelivery("s", flat("type", "x", "chain", "c", "timestamp", text), events.ID{})
			if !d.Time.Equal(want) || d.Type != events.TypeEvent {
				t.Errorf("time is %s in %s, want %s", d.Time, d.Data, want)
			}
		})
	}
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	ok := flat("type", "x", "chain", "c", "timestamp", "1231006505")
	ahead := func(b *events.Block) { b.Fields.(map[string]any)["extra"] = "x" }
	good := blockEntry(t, ahead)
	data := func(text string) events.Entry { return set(good, "data", text) }
	own := `"number":1,"hash":"` + firstHash + `","timestamp":1231469665`
	tests := map[string]struct {
		entry  events.Entry
		reason string
	}{
		"nothing":              {events.Entry{ID: events.ID{Minor: 1}}, "no valid chain"},
		"no type":              {set(ok, "type", ""), "no valid type"},
		"bad type":             {set(ok, "type", "Transfer"), "no valid type"},
		"no chain":             {set(ok, "chain", ""), "no valid chain"},
		"bad chain":            {set(ok, "chain", "bit_coin"), "no valid chain"},
		"long chain":           {set(ok, "chain", strings.Repeat("a", 64)), "no valid chain"},
		"no timestamp":         {set(ok, "timestamp", ""), "no valid timestamp"},
		"bad timestamp":        {set(ok, "timestamp", "yesterday"), "no valid timestamp"},
		"exponent":             {set(ok, "timestamp", "1.2e9"), "no valid timestamp"},
		"milliseconds":         {set(ok, "timestamp", "1231006505000"), "not milliseconds"},
		"nanoseconds":          {set(ok, "timestamp", "1231006505000000000000"), "not milliseconds"},
		"negative":             {set(ok, "timestamp", "-1"), "before 1970"},
		"before 1970":          {set(ok, "timestamp", "1969-12-31T23:59:59Z"), "before 1970"},
		"late":                 {set(ok, "timestamp", "2024-03-01T23:59:59.123001Z"), "more than a day after"},
		"no append time":       {byFeed(set(ok, "chainmetrics.appended_at", "never")), "append time"},
		"absurd append time":   {byFeed(set(ok, "chainmetrics.appended_at", "18446744073709551615")), "append time"},
		"append time claimed":  {set(set(ok, "chainmetrics.appended_at", "99999999999999"), "timestamp", "2040-01-01T00:00:00Z"), "more than a day after"},
		"after the year 2099":  {byFeed(set(set(ok, "chainmetrics.appended_at", "99999999999999"), "timestamp", "2100-01-01T00:00:00Z")), "more than a day after"},
		"unknown kind":         {set(ok, "chainmetrics.kind", "uncle"), "unknown kind"},
		"invalid UTF-8":        {set(ok, "memo", "\xff"), "UTF-8"},
		"invalid UTF-8 name":   {set(ok, "\xff", "memo"), "UTF-8"},
		"lone surrogate":       {set(ok, "memo", `["\ud800"]`), "UTF-8"},
		"empty name":           {flat("", "x"), "empty field name"},
		"name twice":           {flat("type", "x", "type", "x"), "twice"},
		"too deep":             {set(ok, "memo", strings.Repeat("[", 65)+strings.Repeat("]", 65)), "deeper"},
		"name twice in object": {set(ok, "memo", `{"a":1,"\u0061":2}`), "twice"},
		"absurd number":        {set(ok, "memo", `[1e1000000]`), "number"},
		"too large":            {set(ok, "memo", strings.Repeat("a", events.MaxDataBytes)), "64 MiB"},
		"too many fields":      {flat(make([]string, 2*events.MaxFields+2)...), "4096 fields"},

		"type with a hyphen":   {set(ok, "type", "token-transfer"), "no valid type"},
		"type with a digit":    {set(ok, "type", "20swap"), "no valid type"},
		"type that is long":    {set(ok, "type", strings.Repeat("a", 64)), "no valid type"},
		"type with a space":    {set(ok, "type", "x "), "no valid type"},
		"chain with a capital": {set(ok, "chain", "Bitcoin"), "no valid chain"},
		"chain with a digit":   {set(ok, "chain", "0x"), "no valid chain"},
		"timestamp in hex":     {set(ok, "timestamp", "0x495fab29"), "no valid timestamp"},
		"timestamp of NaN":     {set(ok, "timestamp", "NaN"), "no valid timestamp"},
		"timestamp of a list":  {set(ok, "timestamp", "[1231006505]"), "no valid timestamp"},
		"timestamp in words":   {set(ok, "timestamp", "Sat, 03 Jan 2009 18:15:05 GMT"), "no valid timestamp"},
		"timestamp of a day":   {set(ok, "timestamp", "2009-01-03"), "no valid timestamp"},
		"timestamp and space":  {set(ok, "timestamp", "1231006505 "), "no valid timestamp"},
		"month 13":             {set(ok, "timestamp", "2009-13-03T18:15:05Z"), "no valid timestamp"},
		"year 10000":           {set(ok, "timestamp", "10000-01-01T00:00:00Z"), "no valid timestamp"},
		"too many values":      {set(ok, "memo", "["+strings.Repeat("0,", 2_097_152)+"0]"), "more than 2097152 values"},

		"json of null":                {flat("json", "null"), "broken JSON"},
		"json of a text":              {flat("json", `"x"`), "broken JSON"},
		"json of two objects":         {flat("json", "{}{}"), "broken JSON"},
		"json with a byte order mark": {flat("json", "\ufeff{}"), "broken JSON"},
		"json with an object as type": {flat("json", `{"type":{},"chain":"c","timestamp":1231006505}`), "no valid type"},
		"json with a text as time":    {flat("json", `{"type":"x","chain":"c","timestamp":"soon"}`), "no valid timestamp"},

		"json of nothing":             {flat("json", ""), "broken JSON"},
		"json of a list":              {flat("json", "[]"), "broken JSON"},
		"json that is cut off":        {flat("json", `{"type":"x","chain":"c"`), "broken JSON"},
		"json with garbage behind":    {flat("json", `{"type":"x","chain":"c","timestamp":1231006505} x`), "broken JSON"},
		"json without a type":         {flat("json", `{"chain":"c","timestamp":1231006505}`), "no valid type"},
		"json with a number as type":  {flat("json", `{"type":1,"chain":"c","timestamp":1231006505}`), "no valid type"},
		"json without a chain":        {flat("json", `{"type":"x","timestamp":1231006505}`), "no valid chain"},
		"json with null as chain":     {flat("json", `{"type":"x","chain":null,"timestamp":1231006505}`), "no valid chain"},
		"json without a time":         {flat("json", `{"type":"x","chain":"c"}`), "no valid timestamp"},
		"json with a list as time":    {flat("json", `{"type":"x","chain":"c","timestamp":[1]}`), "no valid timestamp"},
		"json in milliseconds":        {flat("json", `{"type":"x","chain":"c","timestamp":1231006505000}`), "not milliseconds"},
		"json before 1970":            {flat("json", `{"type":"x","chain":"c","timestamp":-1}`), "before 1970"},
		"json of days to come":        {flat("json", `{"type":"x","chain":"c","timestamp":"2040-01-01T00:00:00Z"}`), "more than a day after"},
		"json with a name twice":      {flat("json", `{"type":"x","chain":"c","timestamp":1231006505,"a":1,"a":1}`), "twice"},
		"json that is too deep":       {flat("json", `{"type":"x","chain":"c","timestamp":1231006505,"a":`+strings.Repeat("[", 64)+strings.Repeat("]", 64)+`}`), "deeper"},
		"json with an absurd number":  {flat("json", `{"type":"x","chain":"c","timestamp":1231006505,"a":1e1001}`), "number"},
		"json with a lone surrogate":  {flat("json", `{"type":"x","chain":"c","timestamp":1231006505,"a":"\udc00"}`), "UTF-8"},
		"json that is no UTF-8":       {flat("json", "{\"type\":\"x\",\"chain\":\"c\",\"timestamp\":1231006505,\"a\":\"\xff\"}"), "UTF-8"},
		"json with single quotes":     {flat("json", `{'type':'x'}`), "broken JSON"},
		"json with a comma too many":  {flat("json", `{"type":"x","chain":"c","timestamp":1231006505,}`), "broken JSON"},
		"json with a comment":         {flat("json", `{"type":"x" /* a */}`), "broken JSON"},
		"json with NaN":               {flat("json", `{"type":"x","chain":"c","timestamp":1231006505,"a":NaN}`), "broken JSON"},
		"json with infinity":          {flat("json", `{"type":"x","chain":"c","timestamp":1231006505,"a":-Infinity}`), "broken JSON"},
		"json with hexadecimal":       {flat("json", `{"type":"x","chain":"c","timestamp":0x1}`), "broken JSON"},
		"json with a leading zero":    {flat("json", `{"type":"x","chain":"c","timestamp":1231006505,"a":01}`), "broken JSON"},
		"json with a bare point":      {flat("json", `{"type":"x","chain":"c","timestamp":1231006505,"a":.5}`), "broken JSON"},
		"json with a line break":      {flat("json", "{\"type\":\"x\",\"chain\":\"c\",\"timestamp\":1231006505,\"a\":\"b\nc\"}"), "broken JSON"},
		"json with an unknown escape": {flat("json", `{"type":"x","chain":"c","timestamp":1231006505,"a":"\x"}`), "broken JSON"},
		"two jsons":                   {flat("json", `{}`, "json", `{}`), "twice"},

		"block without data":         {set(good, "data", ""), "without data"},
		"block with broken data":     {data(`{"block":`), "broken JSON"},
		"block with garbage behind":  {data(`{"block":{` + own + `},"events":[]} x`), "broken JSON"},
		"block with a number":        {data(`1`), "broken JSON"},
		"block without events":       {data(`{"block":{` + own + `}}`), "block data is not"},
		"block with more":            {data(`{"block":{` + own + `},"events":[],"x":1}`), "block data is not"},
		"block of another hash":      {set(good, "hash", genesisHash), "differs"},
		"block of another number":    {set(good, "number", "2"), "differs"},
		"block of another time":      {set(good, "timestamp", "1231469666"), "differs"},
		"block of another chain":     {data(`{"block":{"chain":"c",` + own + `},"events":[]}`), "differs"},
		"block of another parent":    {data(`{"block":{"parent_hash":"a",` + own + `},"events":[]}`), "differs"},
		"block without a number":     {data(`{"block":{"hash":"` + firstHash + `","timestamp":1231469665},"events":[]}`), "no valid number"},
		"block of no number":         {set(good, "number", "01"), "no valid number"},
		"block of no hash":           {set(good, "hash", "?"), "no valid hash"},
		"block of no parent":         {set(good, "parent_hash", ""), "no valid parent hash"},
		"block without append time":  {set(good, "chainmetrics.appended_at", ""), "more than a day after"},
		"block with another field":   {set(good, "size", "1"), "unknown field"},
		"block event without a type": {data(`{"block":{` + own + `},"events":[{"type":"a"},{"a":1}]}`), "valid type"},
		"block event of no object":   {data(`{"block":{` + own + `},"events":[1]}`), "valid type"},
		"block within a block":       {data(`{"block":{` + own + `},"events":[{"type":"block"}]}`), "valid type"},
		"block event elsewhere":      {data(`{"block":{` + own + `},"events":[{"type":"a","chain":"c"}]}`), "differs"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := events.NewDelivery("s", tt.entry, events.ID{})
			_, err := d.Open()
			var unreadable *events.Unreadable
			if !errors.As(err, &unreadable) || !strings.Contains(unreadable.Reason, tt.reason) {
				t.Errorf("verdict is %v, want %q", err, tt.reason)
			}
			if d.Type != events.TypeRaw || d.Hash == "" || d.Chain != "" || !d.Time.IsZero() {
				t.Errorf("delivery is %s of %s, chain %q, time %s", d.Type, d.Hash, d.Chain, d.Time)
			}
			if len(d.Data) > 8<<20 {
				t.Errorf("raw data has %d bytes", len(d.Data))
			}
		})
	}
}

func TestBlockEntryThatNobodyCouldRead(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*events.Block){
		"other number":  func(b *events.Block) { b.Number = 2 },
		"other hash":    func(b *events.Block) { b.Hash = genesisHash },
		"other time":    func(b *events.Block) { b.Time = b.Time.Add(time.Second) },
		"no fields":     func(b *events.Block) { b.Fields = nil },
		"late":          func(b *events.Block) { b.Time = appended.Add(25 * time.Hour) },
		"chain":         func(b *events.Block) { b.Chain = "" },
		"not marshaled": func(b *events.Block) { b.Fields = func() {} },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := block()
			change(&b)
			if entry, err := events.NewBlockEntry(events.ID{Minor: 2}, b, appended); err == nil {
				t.Errorf("entry is %v", entry)
			}
		})
	}
}

func TestValuesAreBounded(t *testing.T) {
	t.Parallel()
	for extra, valid := range map[int]bool{-1: true, 0: false} { // the list is a value too
		text := "[" + strings.Repeat("0,", events.MaxValues+extra-1) + "0]"
		if _, err := events.DecodeJSON(text); (err == nil) != valid {
			t.Errorf("%d values: %v", events.MaxValues+extra+1, err)
		}
	}
}

func TestBucketed(t *testing.T) {
	t.Parallel()
	start := time.Date(2009, time.January, 1, 0, 0, 0, 0, time.UTC)
	if !events.Bucketed(start) || events.Bucketed(start.Add(-time.Microsecond)) || events.Bucketed(time.Unix(0, 0)) {
		t.Error("2009 is not where buckets begin")
	}
}

func TestContentHash(t *testing.T) {
	t.Parallel()
	ok := flat("type", "x", "chain", "c", "timestamp", "1")
	same := map[string]events.Entry{
		"order":    flat("timestamp", "1", "chain", "c", "type", "x"),
		"metadata": set(ok, "chainmetrics.appended_at", "5"),
		"trace":    set(set(ok, "traceparent", "x"), "tracestate", "y"),
		"id":       {ID: events.ID{Minor: 9}, Fields: ok.Fields},
	}
	for name, entry := range same {
		if entry.ContentHash() != ok.ContentHash() {
			t.Errorf("%s changes the hash", name)
		}
	}
	// printf of the lengths and texts of chain=c, timestamp=1, type=x, through sha256sum
	const want = "5f599aff1804431a9cef29a38bbf65dc5a20eaad717a7200e2b3eeeb1d99b479"
	if got := ok.ContentHash(); got != want {
		t.Errorf("hash is %s, want %s", got, want)
	}
	other := map[string]events.Entry{
		"value":          set(ok, "type", "y"),
		"moved boundary": flat("typex", "", "chain", "c", "timestamp", "1"),
		"twice":          flat("type", "x", "type", "x", "chain", "c", "timestamp", "1"),
	}
	for name, entry := range other {
		if entry.ContentHash() == ok.ContentHash() {
			t.Errorf("%s does not change the hash", name)
		}
	}
	if got := blockEntry(t, nil).ContentHash(); got != firstHash {
		t.Errorf("hash of a block is %s", got)
	}
}

func TestWaitsSince(t *testing.T) {
	t.Parallel()
	noted := events.Field{Name: events.FieldAppended, Value: "1800000000000"}
	for name, c := range map[string]struct {
		entry events.Entry
		want  int64 // milliseconds
	}{
		"by its id":               {events.Entry{ID: events.ID{Major: 1_700_000_000_000}}, 1_700_000_000_000},
		"of a file, id of a time": {events.Entry{ID: events.ID{Major: 1_600_000_000_000}, Fields: []events.Field{noted}}, 1_800_000_000_000},
		"of a file, id of blocks": {events.Entry{ID: events.ID{Major: 7}, Fields: []events.Field{noted}}, 1_800_000_000_000},
		"noted before its id":     {events.Entry{ID: events.ID{Major: 1_900_000_000_000}, Fields: []events.Field{noted}}, 1_900_000_000_000},
		"neither":                 {events.Entry{ID: events.ID{Major: 7}}, 7},
	} {
		if got := c.entry.WaitsSince().UnixMilli(); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// TestTraceDecidesNothing: an entry that fills the bounds is read whether it is traced or not.
func TestTraceDecidesNothing(t *testing.T) {
	t.Parallel()
	full := flat("type", "x", "chain", "c", "timestamp", "1231006505")
	for len(full.Fields) < events.MaxFields {
		full = set(full, fmt.Sprintf("f%d", len(full.Fields)), "0")
	}
	traced := set(set(full, events.FieldTraceparent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), events.FieldTracestate, "a=b")
	for name, entry := range map[string]events.Entry{"not traced": full, "traced": traced} {
		if d := events.NewDelivery("s", entry, events.ID{}); d.Type != events.TypeEvent {
			t.Errorf("%s it is %s: %s", name, d.Type, d.Data)
		}
	}
	if d := events.NewDelivery("s", set(full, "one_more", "0"), events.ID{}); d.Type != events.TypeRaw {
		t.Errorf("with one field more it is %s", d.Type)
	}
}
