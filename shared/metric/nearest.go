package metric

import "strconv"

func quote(text string) string { return strconv.Quote(text) }

// nearest gives the one of the known names that name is most likely a misspelling of, or nothing.
func nearest(name string, known []string) string {
	best, fewest := "", max(1, len(name)/3)
	for _, candidate := range known {
		if edits := distance(name, candidate); edits <= min(fewest, len(candidate)-1) && (best == "" || edits < fewest) {
			best, fewest = candidate, edits
		}
	}
	return best
}

// distance counts the bytes to insert, delete or change between two names (Levenshtein).
func distance(a, b string) int {
	const longest = 64
	if len(a) > longest || len(b) > longest {
		return longest
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
