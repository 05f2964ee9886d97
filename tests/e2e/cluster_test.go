//go:build e2e

package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

const namespace = "blockchain-metrics"

// ours selects every object of this project.
const ours = "app.kubernetes.io/part-of=chainmetrics"

// kubectl runs kubectl in the namespace of the project and gives its standard output.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return kubectlWith(t, "", args...)
}

// kubectlWith runs kubectl with a standard input.
func kubectlWith(t *testing.T, input string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "kubectl", append([]string{"--namespace", namespace}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, complaints.Bytes())
	}
	return string(output)
}

// script runs a script, whose output is shown.
func script(t *testing.T, path string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// pods gives the names of the pods that a label selects and that have not been told to end.
func pods(t *testing.T, selector string) []string {
	t.Helper()
	var list struct {
		Items []struct {
			Metadata struct {
				Name              string     `json:"name"`
				DeletionTimestamp *time.Time `json:"deletionTimestamp"`
			} `json:"metadata"`
		} `json:"items"`
	}
	if err := json.Unmarshal([]byte(kubectl(t, "get", "pods", "--selector", selector, "--output", "json")), &list); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, pod := range list.Items {
		if pod.Metadata.DeletionTimestamp == nil {
			names = append(names, pod.Metadata.Name)
		}
	}
	return names
}

// secret gives the contents of a Secret.
func secret(t *testing.T, name string) map[string]string {
	t.Helper()
	var object struct {
		Data map[string]string `json:"data"`
	}
	if err := json.Unmarshal([]byte(kubectl(t, "get", "secret", name, "--output", "json")), &object); err != nil {
		t.Fatal(err)
	}
	for key, encoded := range object.Data {
		value, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			t.Fatal(err)
		}
		object.Data[key] = string(value)
	}
	return object.Data
}

// postgresURL gives an address of the database that can be reached from here until the test ends.
func postgresURL(t *testing.T) string {
	t.Helper()
	values := secret(t, "postgres")
	address := url.URL{
		Scheme: "postgres",
		User:   url.UserPassword(values["POSTGRES_USER"], values["POSTGRES_PASSWORD"]),
		Host:   forward(t, "statefulset/postgres", 5432),
		Path:   values["POSTGRES_DB"],
	}
	return address.String()
}

var forwarding = regexp.MustCompile(`^Forwarding from (127\.0\.0\.1:\d+) `)

// forward gives an address on this machine for a port in the cluster, until the test ends.
func forward(t *testing.T, object string, port int) (address string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "kubectl", "--namespace", namespace, "port-forward", object, fmt.Sprintf(":%d", port))
	cmd.Stderr = os.Stderr
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("forward a port: %v", err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // it was killed with the test's context
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if match := forwarding.FindStringSubmatch(lines.Text()); match != nil {
			go func() {
				for lines.Scan() { // it says every connection
					continue
				}
			}()
			return match[1]
		}
	}
	t.Fatalf("port %d of %s is not forwarded", port, object)
	return ""
}
