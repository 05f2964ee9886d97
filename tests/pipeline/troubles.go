package pipeline

import _ "embed"

// Troubles is SQL that puts into a store, which has a counter gas with hourly and daily windows, one of everything that it may tell of
// itself.
//
//go:embed troubles.sql
var Troubles string
