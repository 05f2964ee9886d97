package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/eventing"
	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/wiring"
	"github.com/chainmetrics/chainmetrics/config"
	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/functions/planner/planner"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/devserver"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/series"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// upTimeout bounds a run of up on a busy machine.
const upTimeout = 5 * time.Minute

// newUp gives the command "chainmetrics up" with a data directory, in an environment that names no server. The programs
// that it runs lie beside it.
func newUp(t *testing.T, data string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), upTimeout)
	t.Cleanup(cancel)
	for _, kind := range functions.Definitions() {
		harness.Build(t, "functions/"+kind.Name)
	}
	for _, program := range []string{"functions/archive", "functions/notify", "functions/scheduler", "events/source", "events/feed"} {
		harness.Build(t, program)
	}
	binary := harness.Build(t, "cmd/chainmetrics")
	cmd := exec.CommandContext(ctx, binary, append([]string{"up", "--data-dir", data}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	for _, name := range []string{"PATH", "HOME", "GOPATH", "GOMODCACHE", "GOPROXY", "GOFLAGS", "TMPDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	return cmd
}

func TestUpLoadsTheSampleChainOnce(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data dir")
	first := upOnce(t, data)
	for _, want := range []string{"14,132 blocks", "Newest daily buckets, 2009-05-06 to 2009-05-12 UTC", "btc_block_count"} {
		if !strings.Contains(first, want) {
			t.Errorf("%q is not shown:\n%s", want, first)
		}
	}
	after := stored(t, data, func(url string) {
		if differences := pipeline.Differences(t, pipeline.Database(t, url), pipeline.Expected(t, pipeline.SampleChain(t))); differences != "" {
			t.Error(differences)
		}
		store := pipeline.Store(t, url)
		for metric, want := range map[string]string{"btc_block_count": "14132", "btc_issuance": "706600"} {
			if got := total(t, store, metric); got != want {
				t.Errorf("the total of %s is %s, want %s", metric, got, want)
			}
		}
	})

	second := upOnce(t, data)
	if !strings.Contains(second, "32 registered") || !strings.Contains(second, "nothing new: 14,132 blocks") {
		t.Errorf("the second run shows:\n%s", second)
	}
	if diff := cmp.Diff(after, stored(t, data, nil)); diff != "" {
		t.Errorf("the second run has written (-after the first +after the second):\n%s", diff)
	}
}

// upOnce runs up --once to its end.
func upOnce(t *testing.T, data string, args ...string) string {
	t.Helper()
	output, err := newUp(t, data, append([]string{"--once"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("chainmetrics up --once: %v\n%s", err, output)
	}
	return string(output)
}

// stored describes every row that up keeps, by table: how many there are, and a digest of contents and of the
// transactions that wrote them. Meanwhile look may use the database.
func stored(t *testing.T, data string, look func(url string)) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), upTimeout)
	defer cancel()
	server, err := devserver.StartPostgres(ctx, filepath.Join(data, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Stop(ctx); err != nil {
			t.Error(err)
		}
	}()
	if look != nil {
		look(server.URL())
	}
	database := pipeline.Database(t, server.URL())
	defer database.Close()
	described := make(map[string]string)
	for _, table := range []string{
		"metrics_data", "stream_watermarks", "stream_types", "streams", "metric_registry", "metric_versions", "dead_letters",
		"metric_errors", "pending_reverts", "windows",
	} {
		var text string
		query := "select count(*) || ' rows, ' || coalesce(md5(string_agg(r.xmin::text || r::text, ' ' order by r::text)), '-') from " +
			table + " r"
		if err := database.QueryRow(ctx, query).Scan(&text); err != nil {
			t.Fatalf("describe %s: %v", table, err)
		}
		described[table] = text
	}
	return described
}

// total adds up the daily buckets of a metric.
func total(t *testing.T, store *postgres.Store, metric string) string {
	t.Helper()
	rows, err := store.Buckets(t.Context(), postgres.Query{Metric: metric, Size: bucket.Daily})
	if err != nil {
		t.Fatal(err)
	}
	buckets := make([]series.Bucket, len(rows))
	for i, row := range rows {
		buckets[i] = series.Bucket(row)
	}
	all, err := series.Build(series.Options{Size: bucket.Daily, Cumulative: true}, buckets)
	if err != nil || len(all) != 1 {
		t.Fatalf("%d series of %s, %v", len(all), metric, err)
	}
	points := all[0].Points
	return points[len(points)-1].Value.String()
}

// output is what a process writes, while it writes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// serve starts up on the first blocks of the sample chain, and waits until it serves.
func serve(t *testing.T, data string) (cmd *exec.Cmd, shown *output) {
	t.Helper()
	cmd, shown = newUp(t, data, "--blocks", pipeline.Beginning(t, 300)), &output{}
	cmd.Stdout, cmd.Stderr = shown, shown
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill() // its children go with it
			_ = cmd.Wait()
		}
		if t.Failed() {
			t.Logf("up showed:\n%s", shown)
		}
	})
	pipeline.Eventually(t, time.Minute, "up serves", func() bool { return strings.Contains(shown.String(), "Serving until") })
	return cmd, shown
}

// ask runs another command on the data directory.
func ask(t *testing.T, data string, args ...string) (answer string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), harness.Build(t, "cmd/chainmetrics"), append(args, "--data-dir", data)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	text, _ := cmd.CombinedOutput()
	return string(text), cmd.ProcessState.ExitCode()
}

func TestUpServesHealsAndDrains(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	cmd, shown := serve(t, data)
	if info, err := os.Stat(data); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the data directory has mode %v, %v", info.Mode(), err)
	}

	answer, _ := ask(t, data, "query", "btc_block_count", "--bucket", "monthly", "--output", "csv")
	if want := "2009-01-01T00:00:00Z,2009-02-01T00:00:00Z,bitcoin,300,false,false\n" +
		"bitcoin: holds blockchain_events:bitcoin up to entry 0-300, and all that was expected before 2009-01-13T06:35:41Z\n"; !strings.HasSuffix(answer, want) {
		t.Errorf("the query's answer is:\n%s", answer)
	}
	if answer, code := ask(t, data, "status", "--check"); code != 0 || !strings.Contains(answer, "nothing is wrong") {
		t.Errorf("status exits with %d:\n%s", code, answer)
	}
	if answer := pasted(t, shown.String()); !strings.Contains(answer, "(") {
		t.Errorf("the psql line answers:\n%s", answer)
	}
	answer, code := ask(t, data, "up")
	if want := "runs there already, as process " + strconv.Itoa(cmd.Process.Pid); code != 1 || !strings.Contains(answer, want) {
		t.Errorf("a second up exits with %d:\n%s", code, answer)
	}

	for _, want := range []string{"schedules 4, next ", "planner   "} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("%q is not shown:\n%s", want, shown)
		}
	}
	tick(t, data)

	// The functions die, then the stream is lost: all come back without anybody's help.
	kill(t, children(t, cmd, "counter"))
	pipeline.Eventually(t, time.Minute, "their deaths are shown", func() bool {
		return strings.Contains(shown.String(), "counter died: signal: killed") &&
			strings.Contains(shown.String(), "counter-small died: signal: killed")
	})
	url, err := devserver.URL(filepath.Join(data, "redis"))
	if err != nil {
		t.Fatal(err)
	}
	if err := pipeline.Redis(t, url).Del(t.Context(), "blockchain_events:bitcoin").Err(); err != nil {
		t.Fatal(err)
	}
	pipeline.Eventually(t, time.Minute, "the stream is healed", func() bool {
		answer, code := ask(t, data, "status", "--check")
		return code == 0 && regexp.MustCompile(`counter +blockchain_events:bitcoin +0-300 +0 `).MatchString(answer)
	})

	// So do the servers.
	kill(t, append(children(t, cmd, "postgres"), children(t, cmd, "redis-server")...))
	pipeline.Eventually(t, time.Minute, "the servers run again", func() bool {
		return strings.Contains(shown.String(), "postgres runs again") && strings.Contains(shown.String(), "redis runs again")
	})
	pipeline.Eventually(t, time.Minute, "all is well", func() bool {
		_, code := ask(t, data, "status", "--check")
		return code == 0
	})

	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGINT: %v", err)
	}
	if got := working(t, data); len(got) > 0 { // told by /proc, where there is one
		t.Errorf("processes that outlive up: %q", got)
	}
	if answer, code := ask(t, data, "status"); code != 1 || !strings.Contains(answer, "chainmetrics up") {
		t.Errorf("status without the system exits with %d:\n%s", code, answer)
	}
}

func TestNothingOutlivesAKilledUp(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Log("only Linux tells a process of its parent's death")
		return
	}
	data := filepath.Join(t.TempDir(), "data")
	cmd, _ := serve(t, data)
	if got := working(t, data); len(got) < 5 {
		t.Fatalf("only these run: %q", got)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	pipeline.Eventually(t, 30*time.Second, "all its processes have ended", func() bool { return len(working(t, data)) == 0 })
	if shown := upOnce(t, data, "--blocks", pipeline.Beginning(t, 300)); !strings.Contains(shown, "nothing new: 300 blocks") {
		t.Errorf("the next run shows:\n%s", shown)
	}
}

// pasted runs the line for psql that up shows, in a shell.
func pasted(t *testing.T, shown string) string {
	t.Helper()
	for line := range strings.Lines(shown) {
		if at := strings.Index(line, "psql '"); at >= 0 {
			cmd := exec.CommandContext(t.Context(), "sh", "-c", line[at:])
			cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
			text, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("run %s: %v", line[at:], err)
			}
			return string(text)
		}
	}
	t.Errorf("no line for psql:\n%s", shown)
	return ""
}

// planned is a metric, whose schedule the planner has as soon as it is told. Its tick makes this decade's partition of months,
// which no block of 2009 needs.
const planned = `
name: planned_meanwhile
type: counter
calculation_logic: {stream: {event_type: block}}
chains: [bitcoin]
bucket_sizes: [monthly]
`

// tick applies a metric, has the sweep tell of it, and fires the schedule that it then has.
func tick(t *testing.T, data string) {
	t.Helper()
	manifests, err := config.Render("local")
	if err != nil {
		t.Fatal(err)
	}
	w, err := wiring.Read(manifests)
	if err != nil {
		t.Fatal(err)
	}
	url, err := devserver.URL(filepath.Join(data, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	database := pipeline.Database(t, url)
	defer database.Close()
	made := func() (there bool) {
		query := fmt.Sprintf("select to_regclass('metrics_data_monthly_%ds') is not null", time.Now().UTC().Year()/10*10)
		if err := database.QueryRow(t.Context(), query).Scan(&there); err != nil {
			t.Fatal(err)
		}
		return there
	}
	if made() {
		t.Error("the partition is there before the tick")
	}
	definitions := pipeline.Apply(t, pipeline.Store(t, url), "planned.yaml", []byte(planned))
	fire(t, w, w.Schedules[slices.IndexFunc(w.Schedules, func(s wiring.Schedule) bool { return s.Name == "sweep" })], data, "scheduler")
	pipeline.Eventually(t, time.Minute, "the metric is planned", func() bool {
		log, err := os.ReadFile(filepath.Join(data, "logs", "planner.log"))
		if err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(`"msg":"planned".*"created":2,`).Match(log)
	})
	objects, err := planner.ObjectsOf(definitions[0], "blockchain-metrics")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(objects[1])
	if err != nil {
		t.Fatal(err)
	}
	schedules, err := w.Planned(text)
	if err != nil {
		t.Fatal(err)
	}
	fire(t, w, schedules[0], data, "counter-small")
	if !made() {
		t.Error("the tick has made no partition")
	}
}

// fire publishes the event of a schedule, which a function of the system takes.
func fire(t *testing.T, w *wiring.Wiring, schedule wiring.Schedule, data, function string) {
	t.Helper()
	e := schedule.Event.Clone()
	e.SetID("test")
	router := eventing.NewRouter(w.Triggers, w.Functions, map[string]string{function: address(t, data, function)})
	if err := router.Publish(t.Context(), schedule.Broker, e); err != nil {
		t.Error(err)
	}
}

// address tells where a function serves, as its log says.
func address(t *testing.T, data, function string) string {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(data, "logs", function+".log"))
	if err != nil {
		t.Fatal(err)
	}
	port := regexp.MustCompile(`"msg":"serving".*"port":(\d+)`).FindSubmatch(log)
	if port == nil {
		t.Fatalf("%s does not serve:\n%s", function, log)
	}
	return "http://127.0.0.1:" + string(port[1])
}

// children finds the processes of a program that up runs, by its first 15 letters.
func children(t *testing.T, up *exec.Cmd, name string) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil { // gone
			continue
		}
		// Such as "17 (postgres) S 12 …": of process 12.
		id, rest, _ := strings.Cut(string(text), " (")
		if parent, ok := strings.CutPrefix(rest, name+") "); !ok || strings.Fields(parent)[1] != strconv.Itoa(up.Process.Pid) {
			continue
		}
		pid, err := strconv.Atoi(id)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, pid)
	}
	if len(found) == 0 {
		t.Fatalf("up runs no %s", name)
	}
	return found
}

func kill(t *testing.T, processes []int) {
	t.Helper()
	for _, pid := range processes {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
}

// working gives the command lines of processes that name the data directory in arguments or environment, or that work
// or log below it.
func working(t *testing.T, data string) []string {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, process := range processes {
		if filepath.Base(process) == strconv.Itoa(os.Getpid()) {
			continue
		}
		command, err := os.ReadFile(filepath.Join(process, "cmdline"))
		if err != nil || len(command) == 0 { // gone
			continue
		}
		environment, _ := os.ReadFile(filepath.Join(process, "environ"))
		folder, _ := os.Readlink(filepath.Join(process, "cwd"))
		if bytes.Contains(command, []byte(data)) || bytes.Contains(environment, []byte(data)) || strings.HasPrefix(folder, data) {
			found = append(found, strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
	return found
}
