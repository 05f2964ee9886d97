package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// probeTimeout bounds a request to a child.
const probeTimeout = 2 * time.Second

// ready asks a child whether it is ready.
func ready(ctx context.Context, port int) error {
	response, err := get(ctx, port, "/readyz")
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// gauge reads a metric without labels that a child shows in Prometheus's text format.
func gauge(ctx context.Context, port int, name string) (value float64, err error) {
	response, err := get(ctx, port, "/metrics")
	if err != nil {
		return 0, err
	}
	defer response.Body.Close() //nolint:errcheck // only read
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if text, found := strings.CutPrefix(lines.Text(), name+" "); found {
			return strconv.ParseFloat(text, 64)
		}
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("no metric %s on port %d", name, port)
}

// get requests a page of a child on this machine, and fails unless it is there.
func get(ctx context.Context, port int, path string) (*http.Response, error) {
	url := fmt.Sprintf("http://%s:%d%s", loopback, port, path)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Timeout: probeTimeout}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		_ = response.Body.Close() // nothing of it is read
		return nil, fmt.Errorf("%s: %s", url, response.Status)
	}
	return response, nil
}
