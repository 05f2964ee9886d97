// Package metric defines what users measure: definitions in YAML, compiled into programs over chain events.
package metric
