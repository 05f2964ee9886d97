package main

import (
	"errors"

	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

// origin is what failed.
type origin string

const (
	ofRedis    origin = "redis"
	ofPostgres origin = "postgres"
	ofFiles    origin = "files"
)

// failure is an error of something that a feed stands on.
type failure struct {
	origin
	cause error
}

func (e failure) Error() string { return string(e.origin) + ": " + e.cause.Error() }
func (e failure) Unwrap() error { return e.cause }

// isFinal tells whether an error does not pass by itself. Files that nobody follows stay as they are.
func (f *feed) isFinal(err error) bool {
	failed, ok := errors.AsType[failure](err)
	ofTheFiles := ok && failed.origin == ofFiles || errors.Is(err, errBeyond)
	return errors.Is(err, errForeign) || errors.Is(err, postgres.ErrStream) || ofTheFiles && !f.cfg.Follow
}

// advice says what a person can do about a failure.
func advice(err error) string {
	failed, ok := errors.AsType[failure](err)
	if !ok {
		return "none: this is a defect of the feed"
	}
	switch failed.origin {
	case ofRedis:
		return "see that Redis runs, that REDIS_URL or REDIS_HOST, REDIS_PORT, REDIS_USERNAME and REDIS_PASSWORD name it, " +
			"and, where it is out of memory, that the functions keep up, or raise its maxmemory"
	case ofPostgres:
		return "see that PostgreSQL runs, that POSTGRES_URL or POSTGRES_HOST and its like name it, " +
			"and that chainmetrics migrate has prepared it"
	case ofFiles:
		return "see that BLOCK_FILES can be read; a block that the node is still writing will be whole soon"
	}
	return ""
}
