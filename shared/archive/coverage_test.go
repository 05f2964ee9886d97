package archive_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// segments reads coverage_segments, a line each.
func segments(t *testing.T, database *pgxpool.Pool) []string {
	t.Helper()
	const query = `select concat_ws(' ', chain, from_height, to_height, parent_hash, last_hash, extract(epoch from from_time)::bigint,
			extract(epoch from to_time)::bigint, extract(epoch from low_water)::bigint, entry_major || '-' || entry_minor)
		from coverage_segments where stream = $1 order by from_height`
	rows, err := database.Query(t.Context(), query, stream)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// linkedBlock is a block with what coverage is made of.
type linkedBlock struct {
	id           events.ID
	height       uint64
	hash, parent string
	at, low      int64
}

func (b linkedBlock) delivery(t *testing.T, predecessor events.ID) events.Delivery {
	t.Helper()
	at := time.Unix(b.at, 0).UTC()
	fields := map[string]any{"number": b.height, "hash": b.hash, "timestamp": b.at}
	if b.low != b.at {
		fields["median_time"] = b.low
	}
	entry, err := events.NewBlockEntry(b.id, events.Block{
		Chain: "testchain", Number: b.height, Hash: b.hash, ParentHash: b.parent, Time: at, Fields: fields,
	}, at)
	if err != nil {
		t.Fatal(err)
	}
	return events.NewDelivery(stream, entry, predecessor)
}

// randomChain is a stream in which blocks are lost, cannot be read, have a height that is not the next one, are taken back,
// now and then without a word.
type randomChain struct {
	random     *rand.Rand
	median     bool // blocks say their median time past
	deliveries []events.Delivery
	standing   []linkedBlock   // that are in the stream and count, as far as it tells
	held       [][]linkedBlock // standing after each delivery
	parent     string
	height     uint64 // of the next block
	epoch      uint64
}

func (c *randomChain) last() (id events.ID) {
	if n := len(c.deliveries); n > 0 {
		id = c.deliveries[n-1].ID
	}
	return id
}

func (c *randomChain) deliver(d events.Delivery) {
	c.deliveries = append(c.deliveries, d)
	c.held = append(c.held, append([]linkedBlock(nil), c.standing...))
}

func (c *randomChain) step(t *testing.T) {
	t.Helper()
	b := linkedBlock{
		id: events.ID{Major: c.epoch, Minor: c.height + 1}, height: c.height, parent: c.parent,
		hash: fmt.Sprintf("h%d-%d", c.epoch, c.height), at: genesis.Unix() + int64(c.height)*600 + c.random.Int64N(1500),
	}
	if b.low = b.at; c.median {
		b.low -= c.random.Int64N(3000)
	}
	turn := c.random.IntN(100)
	switch {
	case turn < 8: // it is lost
	case turn < 12:
		c.height++
		return
	case turn < 16:
		c.deliver(broken(b.id, c.last()))
	case turn < 22 && len(c.standing) > 0: // reorganisation
		c.epoch++
		c.standing = c.standing[:max(1, len(c.standing)-c.random.IntN(12))]
		ancestor := c.standing[len(c.standing)-1]
		c.deliver(revert(c.epoch, ancestor.id, c.last()))
		c.deliveries[len(c.deliveries)-1].Predecessor = c.deliveries[max(0, len(c.deliveries)-2)].ID
		c.parent, c.height = ancestor.hash, ancestor.height+1
		return
	case turn < 25 && len(c.standing) > 1: // reorganisation whose entry is lost
		c.epoch++
		ancestor := c.standing[max(0, len(c.standing)-1-c.random.IntN(5))]
		c.parent, c.height = ancestor.hash, ancestor.height+1
		return
	default:
		for n := len(c.standing); n > 0 && c.standing[n-1].height >= b.height; n-- {
			c.standing = c.standing[:n-1]
		}
		c.standing = append(c.standing, b)
		c.deliver(b.delivery(t, c.last()))
	}
	c.parent, c.height = b.hash, b.height+1
}

// segmentsOf puts linked blocks together, as lines.
func segmentsOf(blocks []linkedBlock) (all []string) {
	for from := 0; from < len(blocks); {
		to := from + 1
		for to < len(blocks) && blocks[to].height == blocks[to-1].height+1 && blocks[to].parent == blocks[to-1].hash {
			to++
		}
		first, last := blocks[from], blocks[to-1]
		all = append(all, strings.Join(strings.Fields(fmt.Sprintln("testchain", first.height, last.height, first.parent, last.hash,
			first.at, last.at, last.low, last.id)), " "))
		from = to
	}
	return all
}

// TestSegmentsAreThoseOfTheBlocksThatStand compares the segments after each batch, whoever of two functions has archived it, with
// those that are computed from scratch. Now and then a release archives that knows no segments.
func TestSegmentsAreThoseOfTheBlocksThatStand(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			url := harness.Database(t)
			database := pipeline.Database(t, url)
			functions := []*archive.Function{
				archive.NewFunction(archive.Config{}, pipeline.Store(t, url)), archive.NewFunction(archive.Config{}, pipeline.Store(t, url)),
			}
			random := rand.New(rand.NewPCG(seed, 7))
			c := &randomChain{random: random, median: seed%2 == 1, parent: "h0", height: seed / 2 * 100}
			for len(c.deliveries) < 250 {
				c.step(t)
			}
			behind := false
			for done := 0; done < len(c.deliveries); {
				from, to := max(0, done-random.IntN(3)), min(len(c.deliveries), done+1+random.IntN(9)*random.IntN(2))
				forgetful := random.IntN(10) == 0
				if forgetful {
					execute(t, database, "create table remembered as table coverage_segments")
				}
				if _, _, err := functions[random.IntN(2)].Apply(t.Context(), stream, c.deliveries[from:to]); err != nil {
					t.Fatal(err)
				}
				if forgetful {
					execute(t, database, "truncate coverage_segments")
					execute(t, database, "insert into coverage_segments table remembered")
					execute(t, database, "drop table remembered")
				}
				for _, d := range c.deliveries[done:to] {
					behind = (behind || forgetful) && (forgetful || d.Type != events.TypeBlock)
				}
				if done = to; behind {
					continue
				}
				if diff := gocmp.Diff(segmentsOf(c.held[done-1]), segments(t, database)); diff != "" {
					t.Fatalf("after %s (-want +got):\n%s", c.deliveries[done-1].ID, diff)
				}
			}
			execute(t, database, "truncate coverage_segments")
			execute(t, database, "select cover_archived(stream, chain) from stream_types where event_type = 'block'")
			if diff := gocmp.Diff(segmentsOf(c.standing), segments(t, database)); diff != "" {
				t.Errorf("from the archive alone (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRefusedBlocksAreInNoSegment: they belong to another stream, and none of their events is archived.
func TestRefusedBlocksAreInNoSegment(t *testing.T) {
	t.Parallel()
	url := harness.Database(t)
	store, database := pipeline.Store(t, url), pipeline.Database(t, url)
	execute(t, database, "insert into stream_types (chain, event_type, stream) values ('testchain', 'block', 'elsewhere')")
	b := linkedBlock{id: events.ID{Minor: 1}, hash: "h0", parent: "none", at: genesis.Unix(), low: genesis.Unix()}
	function := archive.NewFunction(archive.Config{}, store)
	if _, _, err := function.Apply(t.Context(), stream, []events.Delivery{b.delivery(t, events.ID{})}); err != nil {
		t.Fatal(err)
	}
	if got := segments(t, database); len(got) > 0 {
		t.Errorf("got %v", got)
	}
}

func execute(t *testing.T, database *pgxpool.Pool, statement string) {
	t.Helper()
	if _, err := database.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// TestBlocksThatComeLaterJoinSegments adds blocks that have no entry of the stream.
func TestBlocksThatComeLaterJoinSegments(t *testing.T) {
	t.Parallel()
	url := harness.Database(t)
	database := pipeline.Database(t, url)
	add := func(height int, parent, hash, id string) {
		t.Helper()
		execute(t, database, fmt.Sprintf(`select add_coverage(row('%s', 'testchain', %d, %d, to_timestamp(%d), to_timestamp(%d),
			to_timestamp(%d), '%s', '%s', %s)::coverage_segments)`, stream, height, height, height, height, height, parent, hash, id))
	}
	add(1, "h0", "h1", "null, null")
	add(5, "h4", "h5", "0, 6")
	add(3, "h2", "h3", "null, null")
	add(4, "h3", "h4", "null, null")
	add(9, "h8", "h9", "null, null")
	add(2, "x1", "h2", "null, null")
	add(8, "h7", "x8", "null, null")
	want := []string{
		"testchain 1 1 h0 h1 1 1 1", "testchain 2 5 x1 h5 2 5 5 0-6", "testchain 8 8 h7 x8 8 8 8", "testchain 9 9 h8 h9 9 9 9",
	}
	if diff := gocmp.Diff(want, segments(t, database)); diff != "" {
		t.Error(diff)
	}
}

// TestSegmentsGiveWayToTheStream: what was added past the newest entry gives way to what the stream then brings.
func TestSegmentsGiveWayToTheStream(t *testing.T) {
	t.Parallel()
	url := harness.Database(t)
	store, database := pipeline.Store(t, url), pipeline.Database(t, url)
	function := archive.NewFunction(archive.Config{}, store)
	block := func(height uint64, parent string) linkedBlock {
		return linkedBlock{
			id: events.ID{Minor: height + 1}, height: height, parent: parent, hash: fmt.Sprint("h", height),
			at: genesis.Unix(), low: genesis.Unix(),
		}
	}
	all := []linkedBlock{block(0, "none"), block(1, "h0"), block(2, "h1")}
	var predecessor events.ID
	for i, b := range all {
		if i == 2 {
			execute(t, database, fmt.Sprintf(`select add_coverage(row('%s', 'testchain', 2, 5, now(), now(), now(), 'h1', 'x5', null, null)
				::coverage_segments)`, stream))
		}
		if _, _, err := function.Apply(t.Context(), stream, []events.Delivery{b.delivery(t, predecessor)}); err != nil {
			t.Fatal(err)
		}
		predecessor = b.id
	}
	if diff := gocmp.Diff(segmentsOf(all), segments(t, database)); diff != "" {
		t.Error(diff)
	}
}
