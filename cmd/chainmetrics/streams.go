package main

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

func (a *app) streamListCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the streams and what they hold",
		Example: "  chainmetrics stream list --output json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.readStatus(cmd.Context(), 0)
			if err != nil {
				return err
			}
			if output == outputJSON {
				return writeJSON(a.out, s.Streams)
			}
			if len(s.Streams) == 0 {
				_, err := fmt.Fprintln(a.errors, "no stream yet: a feed makes one, or: "+a.command("stream", "create", "NAME"))
				return err
			}
			return s.streamTable().write(a.out, styleOf(a.out), "")
		},
	}
	outputFlag(cmd, &output, outputTable, outputJSON)
	return cmd
}

// shownStream is the JSON form of a stream with its functions.
type shownStream struct {
	streamStatus
	Functions []functionStatus `json:"functions"`
}

// errUnknownStream says that nobody has registered or announced a stream.
var errUnknownStream = errors.New("unknown stream")

func (a *app) streamShowCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:               "show NAME",
		Short:             "Show a stream, and how far the functions have applied it",
		Example:           "  chainmetrics stream show blockchain_events:bitcoin",
		Args:              oneArg("NAME"),
		ValidArgsFunction: a.completeStreams,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.readStatus(cmd.Context(), 0)
			if err != nil {
				return err
			}
			s.Streams = slices.DeleteFunc(s.Streams, func(s streamStatus) bool { return s.Name != args[0] })
			s.Functions = slices.DeleteFunc(s.Functions, func(f functionStatus) bool { return f.Stream != args[0] })
			if len(s.Streams) == 0 {
				return advise(fmt.Errorf("%w: %s", errUnknownStream, args[0]), "see the names with: %s", a.command("stream", "list"))
			}
			if output == outputJSON {
				return writeJSON(a.out, shownStream{s.Streams[0], s.Functions})
			}
			var text strings.Builder
			if err := s.streamTable().write(&text, styleOf(a.out), ""); err != nil {
				return err
			}
			text.WriteString("\n")
			if len(s.Functions) == 0 {
				text.WriteString("no function reads it yet\n")
			} else if err := s.functionTable().write(&text, styleOf(a.out), ""); err != nil {
				return err
			}
			_, err = io.WriteString(a.out, text.String())
			return err
		},
	}
	outputFlag(cmd, &output, outputTable, outputJSON)
	return cmd
}

var streamName = regexp.MustCompile(`^[a-z][a-z0-9_:-]*$`)

func (a *app) streamCreateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "create NAME",
		Short: "Make an open stream known, to which any producer appends",
		Long: `Make an open stream known, to which any producer appends with XADD NAME *. From then on the functions read it. Producers may
have begun already; a metric counts a stream from its first entry if it is applied before a function has begun it.

Feeds make their own streams known.`,
		Example: "  chainmetrics stream create blockchain_events\n" +
			"  redis-cli XADD blockchain_events '*' type swap chain ethereum timestamp 1700000000 amount 1.5",
		Args: oneArg("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			if !streamName.MatchString(name) {
				return usage(cmd, "%q is no name of a stream: small letters, digits, _, - and : are expected", name)
			}
			store, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer store.Close()
			client, err := a.openRedis(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close() //nolint:errcheck // what it did was answered
			if err := store.RegisterStream(cmd.Context(), postgres.Stream{Name: name, Mode: postgres.ModeOpen}); err != nil {
				return err
			}
			if err := client.Announce(cmd.Context(), name); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%s is open: XADD %s * type … chain … timestamp …\n", name, name)
			return err
		},
	}
}
