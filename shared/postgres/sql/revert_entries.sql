-- Marks the entries after the ancestor and before the revert. Rows of the same transaction are among them.
update archived_entries
set reverted_by_major = $2, reverted_by_minor = $3
where stream = $1
  and (entry_major, entry_minor) > ($4, $5)
  and (entry_major, entry_minor) < ($2, $3)
  and reverted_by_major is null
