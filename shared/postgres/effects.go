package postgres

import (
	_ "embed"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/delivery"
)

var (
	//go:embed sql/insert_buckets.sql
	insertBuckets string
	//go:embed sql/or_replace_buckets.sql
	orReplaceBuckets string
	//go:embed sql/revise_buckets.sql
	reviseBuckets string
	//go:embed sql/open_late_windows.sql
	openLateWindows string
	//go:embed sql/update_nexts.sql
	updateNexts string
	//go:embed sql/upsert_windows.sql
	upsertWindows string
	//go:embed sql/insert_dead_letters.sql
	insertDeadLetters string
	//go:embed sql/count_metric_errors.sql
	countMetricErrors string
	//go:embed sql/insert_reverts.sql
	insertReverts string
)

const (
	maxContent = 1 << 20 // bytes of a dead letter's content that are stored
	maxReason  = 500     // bytes of a reason, which stands in a key
)

// queueBuckets inserts those that are new as such, at two thirds of the cost. Should one be there all the same, the transaction
// fails, and finds it when it is tried again.
func queueBuckets(batch *pgx.Batch, buckets []aggregate.Bucket) {
	var fresh, others, rebuilding, outdated []aggregate.Bucket
	for _, b := range buckets {
		switch {
		case b.Outdated:
			outdated = append(outdated, b)
		case b.NextGeneration != 0:
			rebuilding = append(rebuilding, b)
		case b.New:
			fresh = append(fresh, b)
		default:
			others = append(others, b)
		}
	}
	queueBucketsBy(insertBuckets, batch, fresh)
	queueBucketsBy(insertBuckets+orReplaceBuckets, batch, others)
	queueBucketsBy(insertBuckets+orReplaceBuckets, batch, rebuilding)
	queueNexts(batch, append(rebuilding, outdated...))
}

func queueBucketsBy(statement string, batch *pgx.Batch, buckets []aggregate.Bucket) {
	if len(buckets) == 0 {
		return
	}
	states, generations := make([][]byte, len(buckets)), make([]int64, len(buckets))
	for i, b := range buckets {
		generations[i] = b.Generation
		states[i] = b.State
		if states[i] == nil {
			states[i] = []byte{} // an encoding may be empty, but not null
		}
	}
	c := columnsOfBuckets(buckets)
	batch.Queue(statement, c.metrics, c.sizes, c.starts, c.ends, c.chains, c.dimensions, c.values, c.details, states, generations)
}

// queueRevisions records what buckets show before they are stored, of windows that have been final: runs of a lease change them, or,
// where that is nil, the stream.
func queueRevisions(batch *pgx.Batch, buckets []aggregate.Bucket, lease *int64) {
	byTable := make(map[partition][]aggregate.Bucket)
	for _, b := range buckets {
		if !b.Outdated {
			p := partitionOf(b.Key.Size, b.Key.Start)
			byTable[p] = append(byTable[p], b)
		}
	}
	for p, some := range byTable {
		c := columnsOfBuckets(some)
		batch.Queue(p.in(reviseBuckets), c.metrics, c.sizes, c.starts, c.ends, c.chains, c.dimensions, c.values, c.details, lease)
	}
}

// bucketColumns are what buckets show, as arrays, one for each of their columns.
type bucketColumns struct {
	keyColumns

	ends    []time.Time
	values  []string
	details []*string
}

func columnsOfBuckets(buckets []aggregate.Bucket) bucketColumns {
	n := len(buckets)
	keys := make([]bucket.Key, n)
	c := bucketColumns{ends: make([]time.Time, n), values: make([]string, n), details: make([]*string, n)}
	for i, b := range buckets {
		keys[i], c.ends[i] = b.Key, b.Key.Size.Window(b.Key.Start).End
		c.values[i] = b.Value.String()
		if b.Detail != nil {
			c.details[i] = new(string(b.Detail))
		}
	}
	c.keyColumns = columnsOf(keys)
	return c
}

// queueNexts stores what buckets, which are stored, have beside their states.
func queueNexts(batch *pgx.Batch, buckets []aggregate.Bucket) {
	byTable := make(map[partition][]aggregate.Bucket)
	for _, b := range buckets {
		p := partitionOf(b.Key.Size, b.Key.Start)
		byTable[p] = append(byTable[p], b)
	}
	for p, some := range byTable {
		keys, nexts, generations := make([]bucket.Key, len(some)), make([][]byte, len(some)), make([]int64, len(some))
		for i, b := range some {
			keys[i], nexts[i], generations[i] = b.Key, b.Next, b.NextGeneration
		}
		c := columnsOf(keys)
		batch.Queue(p.in(updateNexts), c.metrics, c.sizes, c.starts, c.chains, c.dimensions, nexts, generations)
	}
}

// queueLate takes finality from windows to which something has come, where they have it, and requests runs of them.
func queueLate(batch *pgx.Batch, windows []bucket.Key) {
	if len(windows) == 0 {
		return
	}
	ends := make([]time.Time, len(windows))
	for i, w := range windows {
		ends[i] = w.Size.Window(w.Start).End
	}
	c := columnsOf(windows)
	batch.Queue(openLateWindows, c.metrics, c.sizes, c.starts, c.chains, ends)
	queueDependents(batch, windows)
}

func queueWindows(batch *pgx.Batch, windows []aggregate.WindowSets) {
	if len(windows) == 0 {
		return
	}
	keys, sets := make([]bucket.Key, len(windows)), make([]int64, len(windows))
	for i, w := range windows {
		keys[i], sets[i] = w.Window, int64(w.Count)
	}
	c := columnsOf(keys)
	batch.Queue(upsertWindows, c.metrics, c.sizes, c.starts, c.chains, sets)
}

// keyColumns are keys as arrays, one for each of their columns.
type keyColumns struct {
	metrics    []int64
	sizes      []string
	starts     []time.Time
	chains     []string
	dimensions []string
}

func columnsOf(keys []bucket.Key) keyColumns {
	n := len(keys)
	c := keyColumns{
		metrics: make([]int64, n), sizes: make([]string, n), starts: make([]time.Time, n),
		chains: make([]string, n), dimensions: make([]string, n),
	}
	for i, k := range keys {
		c.metrics[i], c.sizes[i], c.starts[i], c.chains[i], c.dimensions[i] = k.Metric, k.Size.String(), k.Start, k.Chain, k.Dimensions
	}
	return c
}

func queueDeadLetters(batch *pgx.Batch, stream string, letters []delivery.DeadLetter) {
	if len(letters) == 0 {
		return
	}
	n := len(letters)
	ids, reasons := make([]string, n), make([]string, n)
	contents, lengths := make([][]byte, n), make([]int64, n)
	for i, letter := range letters {
		ids[i], reasons[i] = letter.ID.String(), storable(letter.Reason)
		contents[i], lengths[i] = letter.Content[:min(len(letter.Content), maxContent)], int64(len(letter.Content))
		if contents[i] == nil {
			contents[i] = []byte{}
		}
	}
	batch.Queue(insertDeadLetters, stream, ids, reasons, contents, lengths)
}

func queueMetricErrors(batch *pgx.Batch, stream string, failures []aggregate.MetricError) {
	type kind struct {
		metric int64
		reason string
	}
	place := make(map[kind]int, len(failures)) // reasons that are the same once they are storable are counted together
	var metrics, counts []int64
	var reasons []string
	var newest []events.ID
	for _, failure := range failures {
		k := kind{metric: failure.Metric, reason: storable(failure.Reason)}
		if i, twice := place[k]; twice {
			counts[i] += failure.Count
			if failure.Sample.Compare(newest[i]) > 0 {
				newest[i] = failure.Sample
			}
			continue
		}
		place[k] = len(metrics)
		metrics, reasons = append(metrics, k.metric), append(reasons, k.reason)
		counts, newest = append(counts, failure.Count), append(newest, failure.Sample)
	}
	samples := make([]string, len(newest))
	for i, id := range newest {
		samples[i] = id.String()
	}
	if len(metrics) > 0 {
		batch.Queue(countMetricErrors, stream, metrics, reasons, counts, samples)
	}
}

func queueReverts(batch *pgx.Batch, function, stream string, reverts []aggregate.PendingRevert) {
	if len(reverts) == 0 {
		return
	}
	n := len(reverts)
	ids, ancestors := make([]string, n), make([]string, n)
	numbers, hashes := make([]string, n), make([]string, n)
	for i, r := range reverts {
		ids[i], ancestors[i] = r.ID.String(), r.Revert.Ancestor.String()
		numbers[i], hashes[i] = strconv.FormatUint(r.Revert.Number, 10), r.Revert.Hash
	}
	batch.Queue(insertReverts, function, stream, ids, ancestors, numbers, hashes)
}

// storable gives text that PostgreSQL takes: valid UTF-8 without zero bytes, at most maxReason bytes of it.
func storable(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	if len(text) <= maxReason {
		return text
	}
	end := maxReason
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}
