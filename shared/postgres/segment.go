package postgres

import (
	_ "embed"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/shared/archive"
)

var (
	//go:embed sql/newest_segments.sql
	newestSegments string
	//go:embed sql/extend_segment.sql
	extendSegment string
	//go:embed sql/add_coverage.sql
	addCoverage string
)

// newestSegment is the end of a chain's archived blocks.
type newestSegment struct {
	from, to int64 // heights
	hash     string
	last     *archive.Entry // the newest of the blocks that extend it; nil: none does
	unlinked bool           // not all that has come extends it
}

// queueNewestSegments reads those of a stream, by chain.
func queueNewestSegments(batch *pgx.Batch, stream string, newest map[string]newestSegment) {
	batch.Queue(newestSegments, stream).Query(func(rows pgx.Rows) error {
		var chain string
		var s newestSegment
		_, err := pgx.ForEachRow(rows, []any{&chain, &s.from, &s.to, &s.hash}, func() error {
			newest[chain] = s
			return nil
		})
		return err
	})
}

// queueSegments brings the segments of a stream up with entries that are stored, by one statement for each chain. It extends the
// newest segment where they only do that. Otherwise the rows of the entries tell what has become of it.
func queueSegments(batch *pgx.Batch, stream string, newest map[string]newestSegment, entries []archive.Entry) {
	for i, e := range entries {
		switch s := newest[e.Chain]; {
		case e.Revert != nil: // of everything after it, of whatever chain
			for chain, s := range newest {
				s.unlinked = true
				newest[chain] = s
			}
		case e.ParentHash == "": // no block
		case e.Height != s.to+1 || e.ParentHash != s.hash:
			s.unlinked = true
			newest[e.Chain] = s
		default:
			s.to, s.hash, s.last = e.Height, e.Hash, &entries[i]
			newest[e.Chain] = s
		}
	}
	for _, chain := range slices.Sorted(maps.Keys(newest)) {
		switch s := newest[chain]; {
		case s.unlinked:
			batch.Queue("select cover_archived($1, $2)", stream, chain)
		case s.last != nil:
			batch.Queue(extendSegment, stream, chain, s.from, s.to, s.last.Time, s.last.LowWater, s.hash,
				storedPart(s.last.ID.Major), storedPart(s.last.ID.Minor))
		}
	}
}

// queueImportedCoverage adds imported blocks, which are in order of height. The archive has had no others of these heights.
func queueImportedCoverage(batch *pgx.Batch, stream string, entries []archive.Imported) {
	isBlock := func(e archive.Imported) bool { return e.ParentHash != "" }
	for len(entries) > 0 {
		first := entries[0]
		n := 1
		for n < len(entries) && isBlock(first) && entries[n].Chain == first.Chain &&
			entries[n].Height == entries[n-1].Height+1 && entries[n].ParentHash == entries[n-1].Hash {
			n++
		}
		if last := entries[n-1]; isBlock(first) {
			batch.Queue(addCoverage, stream, first.Chain, first.Height, last.Height, first.Time, last.Time, last.LowWater,
				first.ParentHash, last.Hash)
		}
		entries = entries[n:]
	}
}
