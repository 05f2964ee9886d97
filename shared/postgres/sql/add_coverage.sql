select add_coverage(row ($1, $2, $3, $4, $5, $6, $7, $8, $9, null, null)::coverage_segments)
