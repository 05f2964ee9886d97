// Command release prints the objects of a release, for scripts/release.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/chainmetrics/chainmetrics/config"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// run reads the names of images as ko lists them.
func run(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 2 {
		return errors.New("usage: release FOLDER VERSION <IMAGES")
	}
	images := map[string]string{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		name, digest, _ := strings.Cut(lines.Text(), "@")
		if !strings.HasPrefix(digest, "sha256:") {
			return fmt.Errorf("image %s has no digest", lines.Text())
		}
		program, _, _ := strings.Cut(path.Base(name), ":")
		images[program] = lines.Text()
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read images: %w", err)
	}
	manifests, err := config.Release(args[0], args[1], images)
	if err != nil {
		return err
	}
	_, err = out.Write(manifests)
	return err
}
