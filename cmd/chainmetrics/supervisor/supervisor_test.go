package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/supervisor"
)

// role is the variable that makes the test's own binary a child.
const role = "SUPERVISOR_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "":
		os.Exit(m.Run())
	case "serve":
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		fmt.Println("serving", os.Getpid())
		<-stop
		fmt.Println("drained")
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("serving", os.Getpid())
		time.Sleep(time.Minute)
	case "work":
		fmt.Println("done")
	case "fail":
		for i := range 20 {
			fmt.Println("line", i)
		}
		os.Exit(3)
	case "parent":
		child := supervisor.Start(process("serve", os.Getenv("LOG")), func(supervisor.Exit) {})
		<-child.Done()
	}
}

func process(name, log string) supervisor.Process {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return supervisor.Process{Name: name, Path: self, Env: []string{role + "=" + name, "LOG=" + log}, Log: log}
}

// run starts a child, which is stopped with the test.
func run(t *testing.T, p supervisor.Process) (child *supervisor.Child, exits chan supervisor.Exit) {
	t.Helper()
	exits = make(chan supervisor.Exit, 100)
	child = supervisor.Start(p, func(exit supervisor.Exit) { exits <- exit })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		if err := child.Stop(ctx); err != nil && !errors.Is(err, supervisor.ErrKilled) {
			t.Error(err)
		}
	})
	return child, exits
}

func newLog(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "log")
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(text)
}

func await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}

func receive(t testing.TB, exits chan supervisor.Exit) supervisor.Exit {
	t.Helper()
	select {
	case exit := <-exits:
		return exit
	case <-time.After(20 * time.Second):
		t.Fatal("no exit was told")
		return supervisor.Exit{}
	}
}

func TestStopLetsAChildDrain(t *testing.T) {
	t.Parallel()
	log := newLog(t)
	child, exits := run(t, process("serve", log))
	await(t, "serving", func() bool { return strings.HasPrefix(read(t, log), "serving "+strconv.Itoa(child.PID())) })
	if err := child.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := read(t, log); !strings.HasSuffix(got, "drained\n") {
		t.Errorf("log is %q", got)
	}
	if err := child.Stop(t.Context()); err != nil {
		t.Errorf("stop again: %v", err)
	}
	if len(exits) > 0 || child.PID() != 0 {
		t.Errorf("exit %+v, pid %d", <-exits, child.PID())
	}
	if info, err := os.Stat(log); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("log has mode %v, %v", info.Mode(), err)
	}
}

func TestStopKillsAChildThatDoesNotListen(t *testing.T) {
	t.Parallel()
	log := newLog(t)
	child, _ := run(t, process("deaf", log))
	await(t, "serving", func() bool { return strings.HasPrefix(read(t, log), "serving") })
	pid := child.PID()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := child.Stop(ctx); !errors.Is(err, supervisor.ErrKilled) {
		t.Errorf("got %v, want %v", err, supervisor.ErrKilled)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is there: %v", pid, err)
	}
}

func TestAChildThatDiesIsStartedAgain(t *testing.T) {
	t.Parallel()
	log := newLog(t)
	child, exits := run(t, process("serve", log))
	await(t, "serving", func() bool { return strings.Contains(read(t, log), "serving") })
	first := child.PID()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	exit := receive(t, exits)
	if exit.Err == nil || exit.Delay <= 0 || exit.Delay > 2*time.Second || exit.Quick != 1 {
		t.Errorf("exit is %+v", exit)
	}
	if diff := cmp.Diff([]string{"serving " + strconv.Itoa(first)}, exit.Lines); diff != "" {
		t.Errorf("lines differ (-want +got):\n%s", diff)
	}
	await(t, "serving again", func() bool { return strings.Count(read(t, log), "serving") == 2 })
	if second := child.PID(); second == first || second == 0 {
		t.Errorf("the second process is %d, the first was %d", second, first)
	}
}

func TestQuickDeathsAreCountedAndDelayed(t *testing.T) {
	t.Parallel()
	_, exits := run(t, process("fail", newLog(t)))
	var delays []time.Duration
	for i := range 2 {
		exit := receive(t, exits)
		var status *exec.ExitError
		if !errors.As(exit.Err, &status) || status.ExitCode() != 3 || exit.Quick != i+1 {
			t.Errorf("exit %d is %+v", i, exit)
		}
		if len(exit.Lines) != 10 || exit.Lines[0] != "line 10" || exit.Lines[9] != "line 19" {
			t.Errorf("lines are %q", exit.Lines)
		}
		delays = append(delays, exit.Delay)
	}
	if delays[1] <= delays[0] {
		t.Errorf("delays are %v", delays)
	}
}

func TestAChildThatHasDoneItsWorkIsNotStartedAgain(t *testing.T) {
	t.Parallel()
	log := newLog(t)
	p := process("work", log)
	p.Once = true
	child, exits := run(t, p)
	if exit := receive(t, exits); exit.Err != nil || exit.Delay != 0 {
		t.Errorf("exit is %+v", exit)
	}
	<-child.Done()
	if got := read(t, log); got != "done\n" {
		t.Errorf("log is %q", got)
	}
}

func TestAProgramThatCannotBeStartedIsTold(t *testing.T) {
	t.Parallel()
	p := process("none", newLog(t))
	p.Path = filepath.Join(t.TempDir(), "none")
	child, exits := run(t, p)
	if exit := receive(t, exits); !errors.Is(exit.Err, os.ErrNotExist) {
		t.Errorf("exit is %+v", exit)
	}
	if err := child.Stop(t.Context()); err != nil {
		t.Errorf("stop between runs: %v", err)
	}
}

func TestNoChildOutlivesAKilledParent(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Log("only Linux tells a process of its parent's death")
		return
	}
	log := newLog(t)
	parent := exec.CommandContext(t.Context(), os.Args[0])
	parent.Env = []string{role + "=parent", "LOG=" + log}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "serving", func() bool { return strings.HasPrefix(read(t, log), "serving") })
	pid, err := strconv.Atoi(strings.Fields(read(t, log))[1])
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond) // the child lives on while its parent does, whatever threads come and go
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("process %d: %v", pid, err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // killed
	await(t, "the child has gone", func() bool { return gone(pid) })
}

// gone tells whether a process has ended; one whose end nobody has asked for yet counts as well.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}
