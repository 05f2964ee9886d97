package main_test

import (
	"strings"
	"testing"
)

func TestWrongUsageExitsWith2(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	tests := map[string]struct {
		args []string
		want string
	}{
		"unknown command": {
			[]string{"metrc"},
			"chainmetrics: unknown command \"metrc\": did you mean metric?\n  see chainmetrics --help\n",
		},
		"unknown command of a group": {
			[]string{"metric", "remove"},
			"chainmetrics: unknown command \"remove\"\n  see chainmetrics metric --help\n",
		},
		"unknown flag": {
			[]string{"status", "--verbose"},
			"chainmetrics: unknown flag: --verbose\n  see chainmetrics status --help\n",
		},
		"unexpected argument": {
			[]string{"migrate", "now"},
			"chainmetrics: unexpected argument \"now\"\n  see chainmetrics migrate --help\n",
		},
		"missing argument": {
			[]string{"metric", "show"},
			"chainmetrics: NAME is missing\n  see chainmetrics metric show --help\n",
		},
		"file without -f": {
			[]string{"metric", "apply", "metrics.yaml"},
			"chainmetrics: files are named with -f: -f metrics.yaml\n  see chainmetrics metric apply --help\n",
		},
		"no file": {
			[]string{"metric", "validate"},
			"chainmetrics: -f FILE is missing\n  see chainmetrics metric validate --help\n",
		},
		"unknown output": {
			[]string{"status", "-o", "xml"},
			"chainmetrics: unknown output \"xml\": want one of table, json\n  see chainmetrics status --help\n",
		},
		"query without a bucket size": {
			[]string{"query", "m"},
			"chainmetrics: --bucket is missing: want one of minutely, 10-minutely, hourly, daily, weekly, monthly\n" +
				"  see chainmetrics query --help\n",
		},
		"everything that is wrong with a query": {
			[]string{"query", "m", "-b", "yearly", "--from", "soon", "--to", "3x", "-d", "kind", "--fill", "linear"},
			"chainmetrics: --bucket: unknown bucket size \"yearly\": want one of minutely, 10-minutely, hourly, daily, weekly, monthly\n" +
				"chainmetrics: --from: \"soon\" is no time: write 2009-01-09, 2009-01, 2009-01-09T12:00:00Z, or how long ago: 36h, 7d, 2w\n" +
				"chainmetrics: --to: \"3x\" is no time: write 2009-01-09, 2009-01, 2009-01-09T12:00:00Z, or how long ago: 36h, 7d, 2w\n" +
				"chainmetrics: --fill: unknown fill \"linear\": want one of none, zero, previous\n" +
				"chainmetrics: --dimension: \"kind\" is not of the form name=value\n" +
				"  see chainmetrics query --help\n",
		},
		"reversed range": {
			[]string{"query", "m", "-b", "daily", "--from", "2024-02", "--to", "2024-01"},
			"chainmetrics: --from 2024-02 is not before --to 2024-01\n  see chainmetrics query --help\n",
		},
		"run without a number": {
			[]string{"run", "show", "last"},
			"chainmetrics: RUN \"last\": the number of a run is expected\n  see chainmetrics run show --help\n",
		},
		"retry of nothing": {
			[]string{"run", "retry"},
			"chainmetrics: RUN is missing, or --metric, or --state\n  see chainmetrics run retry --help\n",
		},
		"retry of what has succeeded": {
			[]string{"run", "retry", "--state", "succeeded"},
			"chainmetrics: --state \"succeeded\": want failed or skipped\n  see chainmetrics run retry --help\n",
		},
		"run of a metric without a window": {
			[]string{"metric", "run", "m", "--bucket", "daily"},
			"chainmetrics: --from is missing: want 2009-01-09, 2009-01, 2009-01-09T12:00:00Z, or how long ago: 36h, 7d, 2w\n" +
				"  see chainmetrics metric run --help\n",
		},
		"run of a metric without a bucket size": {
			[]string{"metric", "run", "m", "--from", "7d"},
			"chainmetrics: --bucket is missing: want one of minutely, 10-minutely, hourly, daily, weekly, monthly\n" +
				"  see chainmetrics metric run --help\n",
		},
		"everything that is wrong with a range": {
			[]string{"backfill", "m", "--from", "soon", "--to", "3x"},
			"chainmetrics: --from: \"soon\" is no time: write 2009-01-09, 2009-01, 2009-01-09T12:00:00Z, or how long ago: 36h, 7d, 2w\n" +
				"chainmetrics: --to: \"3x\" is no time: write 2009-01-09, 2009-01, 2009-01-09T12:00:00Z, or how long ago: 36h, 7d, 2w\n" +
				"  see chainmetrics backfill --help\n",
		},
		"up with and without blocks": {
			[]string{"up", "--no-feed", "--blocks", "x"},
			"chainmetrics: --blocks and --no-feed exclude each other\n  see chainmetrics up --help\n",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.refused(t, 2, test.want, test.args...)
		})
	}
}

func TestWithoutServersItSaysWhatToDo(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.refused(t, 1, "chainmetrics: postgres: no server is named, and there is no local system in .chainmetrics\n"+
		"  start one with: "+o.binary+" up\n  or name a server: --postgres-url, or POSTGRES_URL\n", "status")
}

func TestUnreachableServerIsNamedWithoutItsPassword(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	for _, command := range []string{"status", "migrate"} {
		r := o.run(t, command, "--postgres-url", "postgres://user:s3cret@127.0.0.1:1/metrics")
		if r.code != 1 || !strings.Contains(r.errors, "127.0.0.1:1") || !strings.Contains(r.errors, "--postgres-url") {
			t.Errorf("%s: exit status %d:\n%s", command, r.code, r.errors)
		}
		if strings.Contains(r.errors, "s3cret") {
			t.Errorf("standard error shows the password:\n%s", r.errors)
		}
		for line := range strings.Lines(r.errors) {
			if !strings.HasPrefix(line, "chainmetrics: ") && !strings.HasPrefix(line, "  ") {
				t.Errorf("line without a form: %q", line)
			}
		}
	}
}

func TestEveryWrongVariableIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.environ = append(o.environ, "POSTGRES_HOST=db", "POSTGRES_PORT=s3cret", "POSTGRES_POOL_SIZE=0")
	r := o.run(t, "metric", "list")
	for _, name := range []string{"POSTGRES_PORT", "POSTGRES_DB", "POSTGRES_USER", "POSTGRES_POOL_SIZE"} {
		if !strings.Contains(r.errors, name) {
			t.Errorf("%s is not named:\n%s", name, r.errors)
		}
	}
	if r.code != 1 || strings.Contains(r.errors, "s3cret") {
		t.Errorf("exit status %d:\n%s", r.code, r.errors)
	}
}

func TestHelpHasExamples(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	for _, command := range []string{
		"", "up", "migrate", "status", "query", "metric", "metric apply", "metric list", "metric show", "metric validate", "metric test",
		"metric graph",
		"metric delete", "metric run", "metric pause", "metric resume", "stream", "stream accept", "run", "run list", "run show",
		"run retry", "run clear", "render", "backfill", "coverage", "version",
	} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			help := o.must(t, append(strings.Fields(command), "--help")...)
			if !strings.Contains(help, "Examples:\n  ") {
				t.Errorf("no examples:\n%s", help)
			}
		})
	}
}

func TestVersionAndCompletion(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	if got := o.must(t, "version"); !strings.HasPrefix(got, "chainmetrics ") {
		t.Errorf("version is %q", got)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if got := o.must(t, "completion", shell); !strings.Contains(got, "chainmetrics") {
			t.Errorf("completion for %s is %q", shell, got)
		}
	}
	if got := o.must(t, "__complete", "query", "m", "--bucket", ""); !strings.Contains(got, "hourly\ndaily\nweekly\n") {
		t.Errorf("bucket sizes complete to %q", got)
	}
}
