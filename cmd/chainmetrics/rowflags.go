package main

import (
	"cmp"
	"context"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/events/feed/etl"
	"github.com/chainmetrics/chainmetrics/events/feed/flat"
	"github.com/chainmetrics/chainmetrics/events/feed/load"
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
	etl       bool
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
	flags.BoolVar(&f.etl, "etl", false, "the files are exports of ethereum-etl or bitcoin-etl: blocks, and what happened in them")
	complete(cmd, "format", []string{string(row.CSV), string(row.JSONLines)})
}

// read checks the flags, and completes what they say.
func (f *rowFlags) read(cmd *cobra.Command) error {
	if f.etl {
		for _, flag := range []string{"type", "type-column", "time", "block", "order"} {
			if cmd.Flags().Changed(flag) {
				return usage(cmd, "--%s: the files of --etl tell that by themselves", flag)
			}
		}
		if f.events.Chain == "" {
			return usage(cmd, "the chain is missing: say it with --chain ethereum, for example")
		}
		return f.readFormat(cmd)
	}
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

const setHelp = "`name` of the set, which ends the stream's name (default: the event type)"

var setName = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)

// stream names the stream of a feed of the rows.
func (f *rowFlags) stream(cmd *cobra.Command, set string) (string, error) {
	name := "blockchain_events:" + f.events.Chain
	if f.etl {
		if set != "" {
			return "", usage(cmd, "--set: blocks are in the stream of their chain")
		}
		return name, nil
	}
	set = cmp.Or(set, f.events.Type)
	if set == "" {
		return "", usage(cmd, "the rows have types of their own: name the whole set with --set")
	}
	if !setName.MatchString(set) {
		return "", usage(cmd, "--set %q: small letters, digits, - and _ are expected", set)
	}
	return name + ":" + set, nil
}

// files are what rows are read from.
type files interface {
	// Read is how many bytes of them were read since they were opened.
	Read() int64
	// Open begins with the first one.
	Open(ctx context.Context) (load.Entries, error)
}

// flatFiles are those whose every row is an event.
type flatFiles struct{ *flat.Files }

func (f flatFiles) Open(ctx context.Context) (load.Entries, error) { return f.Files.Open(ctx) }

// etlFiles are those whose rows are joined into blocks.
type etlFiles struct{ *etl.Files }

func (f etlFiles) Open(ctx context.Context) (load.Entries, error) { return f.Files.Open(ctx) }

// files are the files that the flags are about. Parent gives the hash of a block that no file has.
func (f *rowFlags) files(a *app, paths []string, parent func(context.Context, uint64) (string, error)) files {
	if f.etl {
		return etlFiles{&etl.Files{Paths: paths, Rows: f.row, Sort: f.sort, Chain: f.events.Chain, Parent: parent, Now: a.now}}
	}
	return flatFiles{f.flatFiles(a, paths)}
}

func (f *rowFlags) flatFiles(a *app, paths []string) *flat.Files {
	return &flat.Files{Paths: paths, Input: a.in, Rows: f.row, Events: f.events, Sort: f.sort, Now: a.now}
}

// sizeOf is how many bytes the files have, 0 where that is not known.
func sizeOf(paths []string) (size int64) {
	for _, path := range paths {
		info, err := os.Stat(path)
		if path == "-" || err != nil {
			return 0
		}
		size += info.Size()
	}
	return size
}
