-- One imported event of a content. Its time leads to its partition, where alone its place means something.
delete from chain_events
where event_time = $3
  and ctid = (
      select ctid
      from chain_events
      where chain = $1
        and event_type = $2
        and event_time = $3
        and stream = $4
        and entry_major is null
        and reverted_by_major is null
        and fields = $5
      limit 1
  )
