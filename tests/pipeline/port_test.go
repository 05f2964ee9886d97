package pipeline_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// TestPortsOfTwoProcesses runs itself once more, while this process keeps its ports.
func TestPortsOfTwoProcesses(t *testing.T) {
	const child = "CHAINMETRICS_TEST_CHILD"
	if os.Getenv(child) != "" {
		fmt.Println("port", pipeline.FreePort(t))
		return
	}
	ours := rangeOf(t, pipeline.FreePort(t))
	if again := rangeOf(t, pipeline.FreePort(t)); again != ours {
		t.Errorf("a process has ports of the ranges %d and %d", ours, again)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPortsOfTwoProcesses$")
	cmd.Env = append(os.Environ(), child+"=1")
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	line, _, _ := strings.Cut(string(output), "\n")
	if theirs := rangeOf(t, strings.TrimPrefix(line, "port ")); theirs == ours {
		t.Errorf("two processes have ports of the range %d", ours)
	}
}

func rangeOf(t *testing.T, port string) int {
	t.Helper()
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return number / 200
}
