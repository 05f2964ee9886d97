package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/events/feed/flat"
	"github.com/chainmetrics/chainmetrics/events/feed/row"
)

// rowFlags is what flags say of the rows of files.
type rowFlags struct {
	events    flat.Config
	row       row.Options
	format    string
	delimiter string
	rename    []string
	sort      bool
}

func (f *rowFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.events.Chain, "chain", "", "`name` of the chain")
	flags.StringVar(&f.events.Type, "type", "", "event `type` of every row")
	flags.StringVar(&f.events.TypeColumn, "type-column", "", "`column` that has the event type, capitals taken as small letters")
	flags.StringVar(&f.events.Time, "time", "", "`column` that has the chain time; UTC unless it says otherwise")
	flags.StringVar(&f.events.Block, "block", "", "`column` that has the block number (default: ids are made of the time)")
	flags.StringVar(&f.events.Order, "order", "", "`column` that has the place within the block or time (default: as in the file)")
	flags.StringArrayVar(&f.row.Null, "null", nil, "`text` that means that there is no value; repeatable")
	flags.StringArrayVar(&f.rename, "rename", nil, "`old=new` name of a column; repeatable")
	flags.StringVar(&f.format, "format", "", "csv, jsonl (default: by the file's name)")
	flags.StringVar(&f.delimiter, "delimiter", "", "`character` between the values of CSV (default: a comma)")
	flags.BoolVar(&f.sort, "sort", false, "put the rows in order first, on disk where they are many")
	complete(cmd, "format", []string{string(row.CSV), string(row.JSONLines)})
}

// read checks the flags, and completes what they say.
func (f *rowFlags) read(cmd *cobra.Command) error {
	if err := f.events.Validate(); err != nil {
		return usage(cmd, "%w", err)
	}
	return f.readFormat(cmd)
}

// readFormat is read without what the columns mean.
func (f *rowFlags) readFormat(cmd *cobra.Command) error {
	f.row.Format = row.Format(f.format)
	if f.format != "" && f.row.Format != row.CSV && f.row.Format != row.JSONLines {
		return usage(cmd, "--format %q: want %s or %s", f.format, row.CSV, row.JSONLines)
	}
	if characters := []rune(strings.ReplaceAll(f.delimiter, `\t`, "\t")); len(characters) > 1 {
		return usage(cmd, "--delimiter %q: one character is expected", f.delimiter)
	} else if len(characters) == 1 {
		f.row.Delimiter = characters[0]
	}
	f.row.Rename = make(map[string]string, len(f.rename))
	for _, pair := range f.rename {
		from, to, found := strings.Cut(pair, "=")
		if !found || from == "" || to == "" {
			return usage(cmd, "--rename %q: old=new is expected", pair)
		}
		f.row.Rename[from] = to
	}
	return nil
}

// files are the files whose rows the flags are about.
func (f *rowFlags) files(a *app, paths []string) *flat.Files {
	return &flat.Files{Paths: paths, Input: a.in, Rows: f.row, Events: f.events, Sort: f.sort, Now: a.now}
}
