// Package redisstream keeps stream entries in Redis.
//
// A feed writes with [Client.Append], which is fenced: it names the id at which it believes the stream to end, so that of
// two feeds only one goes on. A source reads with [Client.Read] from a function's watermark, which is where the function
// stands in Postgres; Redis holds no cursor. Every read proves that it continues what the function has applied, otherwise
// it fails with a [*LossError] and gives nothing.
//
// The archive trims streams, and mends open ones that have lost entries.
//
// Redis 7 or newer is needed. A source's user needs this ACL line, a feed's the one after it, the archive's the last one:
//
//	~blockchain_events* ~chainmetrics:streams -@all +hello +ping +multi +exec +xinfo|stream +xinfo|groups +xrange +xread +xgroup|create +xgroup|setid +smembers
//	~blockchain_events* ~chainmetrics:streams -@all +hello +ping +multi +exec +xinfo|stream +xinfo|groups +xrange +exists +xadd +xsetid +del +eval +evalsha +sadd +smembers
//	~blockchain_events* ~chainmetrics:streams -@all +hello +ping +multi +exec +xinfo|stream +xrange +xrevrange +xtrim +exists +xadd +xsetid +del +eval +evalsha +sadd
//
// What Redis acknowledges and then loses, in a failover or with an AOF synced every second, a function notices as a loss
// only if it had applied the entry; a feed appends such entries again.
package redisstream
