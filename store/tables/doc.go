// Package tables is store.Rows over the tables of an Azure storage account. It
// is the only room that knows aztables.
//
// # Rows
//
// A row is an entity: partition and key are PartitionKey and RowKey as they are,
// a property is a property of the same name. Types are exact: string is
// Edm.String, bool Edm.Boolean, int64 Edm.Int64 (in JSON a string), []byte
// Edm.Binary (base64), float64 Edm.Double, always with its annotation when it
// is written: 20.0 would else be stored as an Int32. A number that is read
// without a type is a float64, so an Int32 that another program wrote comes
// back as one; one that is marked Edm.Int32 is an int64. Edm.DateTime, Edm.Guid
// and floats that are not finite are nothing that we write: such a row is
// refused with store.ErrCorrupt, which names it. Null is absent. The service
// may lose the sign of zero.
//
// A transaction is one entity group transaction: Insert is an insert, Put
// insert-or-replace, Replace an update, Touch a merge, and Delete a delete, the
// last three with If-Match. The limits of package store are checked before
// anything is sent, because Azurite does not check them; Azurite also takes a
// row key that begins with a comma, or holds a quote and a comma, for one of
// another partition, which the service does not.
//
// # What is sent again
//
// A request that fails in a way that may pass is sent again, with growing,
// random pauses, at most Options.Attempts times and only as long as the
// caller's deadline allows. Each try has a time-out of its own, at most half of
// what is left of the deadline, so that a lost answer leaves time for another
// try. A longer wait that the service asks for (Retry-After) is obeyed up to
// Options.MaxWait; beyond that, or beyond the deadline, the caller is told at
// once. The retries of aztables are off.
//
//   - 503, 429, a refused connection, a host that is not found: nothing was done.
//     Sent again; in the end store.ErrThrottled or store.ErrUnavailable.
//   - 500, 502, 504, 408, a lost connection, a try's time-out, an answer that
//     cannot be read to its end: a write may have been done. Sent again; in the
//     end store.ErrUnavailable for a read, store.ErrNoAnswer for a write. Once
//     that has happened, a refusal for the sake of a condition (exists, stale,
//     not found) may be due to the former try itself: it is store.ErrNoAnswer
//     too, never a false ErrExists.
//   - An account that has not answered for a second and 3 tries: nothing is sent
//     but one call a second, the others fail at once (Store.Away).
//   - Everything else is final. Wrong keys and missing roles are
//     store.ErrDenied, with the service's code and what to do.
//
// Under store.Once a write is sent once. (Where an identity's token was not
// accepted and the service asks for another, which is to say that it did
// nothing, azcore sends the request again with that one.)
//
// # Bounds
//
// A page ends with the row that reaches store.MaxPageBytes, whatever the service
// sends; the pages after it ask for fewer rows. Answers that are read whole have
// at most 8 MiB. Connections to an account are at most Options.Connections. The
// environment's proxies are not used.
//
// Neither key nor signature nor token is in an error of this package. It writes
// no log. aztables would log requests, without credentials, if the environment
// variable AZURE_SDK_GO_LOGGING were set.
package tables
