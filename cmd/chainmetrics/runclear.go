package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

const runClearHelp = `Take back that windows of a metric are final, and queue runs of them, which the functions carry
out, tick by tick. The buckets stay as they are until then. A window is final again when its run has confirmed it.
The windows of smaller sizes within are cleared too, since larger ones are made of them.

Unlike backfill, which asks for the same runs, it says that the windows are in doubt: whoever reads only what is final
does not read them meanwhile.`

func (a *app) runClearCommand() *cobra.Command {
	var (
		f   windowFlags
		yes bool
	)
	cmd := &cobra.Command{
		Use:   "clear METRIC",
		Short: "Take back that windows are final, and have them computed again",
		Long:  runClearHelp,
		Example: `  chainmetrics run clear btc_fees --bucket daily --from 2009-01-12 --to 2009-01-13
  chainmetrics run clear btc_fees --yes`,
		Args:              oneArg("METRIC"),
		ValidArgsFunction: a.completeMetrics,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.read(a.now()); err != nil {
				return usage(cmd, "%w", err)
			}
			store, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer store.Close()
			w, err := a.windows(cmd, store, args[0], f)
			if err != nil {
				return err
			}
			question := fmt.Sprintf("Clear the windows of %s from %s to %s? They are not final until they are computed again.", args[0],
				w.from.Format(time.DateTime), w.to.Format(time.DateTime))
			if err := a.confirm(question, yes); err != nil {
				return err
			}
			for _, size := range w.sizes {
				cleared, err := store.ClearWindows(cmd.Context(), w.metric, size, w.from, w.to)
				if err != nil {
					return err
				}
				if _, err := fmt.Fprintf(a.out, "cleared %s %s\n", grouped(cleared), size); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}
