// Package source delivers the entries of streams to one function.
//
// The function's watermark says where to go on; the source keeps no place of its own. For each stream it reads a batch
// after the watermark, sends it, and goes on where the answer says; meanwhile it reads the next one. Whatever fails is
// tried again for as long as it takes, with the same batch. What Redis has lost is never passed over: nothing of the
// stream is delivered until it is whole again, or until a person has accepted the loss.
//
// More than one source may run for a function. One that is told twice in a row that another one was faster becomes a
// standby, which watches Redis only, so that it wakes no function. It delivers again once the function's mirrored place
// has stayed behind the stream's end for some seconds.
package source
