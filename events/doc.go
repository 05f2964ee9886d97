// Package events defines what travels: stream entries, the CloudEvents made of them, the chain events inside.
//
// An [Entry] is what Redis holds. A [Delivery] is an entry on its way from a source to a function, together with the id
// before it, so that the function can see a gap. [Delivery.Open] gives the chain events inside, or the one verdict that
// the entry cannot be read, which is the same for every function.
//
// A [Tick] is no entry: it is the CloudEvent by which a PingSource, or a [RunRequest] of the scheduler, wakes a function. A
// [Notice] tells others what has become true.
package events
