package postgres

import (
	_ "embed"
	"maps"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/shared/delivery"
)

//go:embed sql/claim_pairs.sql
var claimPairs string

//go:embed sql/read_owners.sql
var readOwners string

// rememberedPairs bounds the memory for owners. Beyond it everything is read again.
const rememberedPairs = 10_000

// owners remembers which stream a chain's event type belongs to. Ownership, once committed, never changes, but a server
// that takes over after a failover may have lost it: the memory ends with any connection.
type owners struct {
	mu    sync.Mutex
	known delivery.Owners
}

// queue reads whose pairs are, as far as it is not known. The map that it returns is complete when the batch has been read.
func (o *owners) queue(batch *pgx.Batch, pairs []delivery.Pair) delivery.Owners {
	found := make(delivery.Owners, len(pairs))
	var unknown []delivery.Pair
	o.mu.Lock()
	for _, pair := range pairs {
		if stream, ok := o.known[pair]; ok {
			found[pair] = stream
			continue
		}
		unknown = append(unknown, pair)
	}
	o.mu.Unlock()
	if len(unknown) == 0 {
		return found
	}
	chains, types := columns(unknown)
	batch.Queue(readOwners, chains, types).Query(func(rows pgx.Rows) error {
		var pair delivery.Pair
		var stream string
		_, err := pgx.ForEachRow(rows, []any{&pair.Chain, &pair.EventType, &stream}, func() error {
			found[pair] = stream
			return nil
		})
		return err
	})
	return found
}

// queueClaims makes the stream the owner of pairs that were free. Where another stream has claimed one meanwhile the
// transaction fails, and finds it owned when it is tried again.
func queueClaims(batch *pgx.Batch, stream string, pairs []delivery.Pair) {
	if len(pairs) > 0 {
		chains, types := columns(pairs)
		batch.Queue(claimPairs, stream, chains, types)
	}
}

func columns(pairs []delivery.Pair) (chains, types []string) {
	for _, pair := range pairs {
		chains, types = append(chains, pair.Chain), append(types, pair.EventType)
	}
	return chains, types
}

// learn takes what a committed transaction has read and claimed.
func (o *owners) learn(read delivery.Owners, stream string, claimed []delivery.Pair) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known == nil || len(o.known)+len(read)+len(claimed) > rememberedPairs {
		o.known = make(delivery.Owners, len(read)+len(claimed))
	}
	maps.Copy(o.known, read)
	for _, pair := range claimed {
		o.known[pair] = stream
	}
}

// forget makes everything be read again.
func (o *owners) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.known)
}
