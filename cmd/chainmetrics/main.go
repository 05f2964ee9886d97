// Command chainmetrics is the operator's command.
package main

import (
	"context"
	"os"
	"time"
)

func main() {
	a := &app{in: os.Stdin, out: os.Stdout, errors: os.Stderr, now: time.Now}
	os.Exit(a.run(context.Background(), os.Args[1:]))
}
