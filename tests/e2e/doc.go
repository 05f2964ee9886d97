// Package e2e proves the system on a real cluster: make e2e.
package e2e
