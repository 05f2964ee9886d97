-- The buckets of a range and, where $7, the last one before it of each chain and set of dimensions.
select chain, bucket_start, bucket_end, dimensions, value::text, value_json, final
from (
    select *
    from {buckets}
    where metric = $1
      and bucket_size = $2
      and bucket_start >= $3
      and bucket_start < $4
      and ($5 = '' or chain = $5)
      and dimensions @> $6
    union all
    (
        select distinct on (chain, dimensions) *
        from {buckets}
        where $7
          and metric = $1
          and bucket_size = $2
          and bucket_start < $3
          and ($5 = '' or chain = $5)
          and dimensions @> $6
        order by chain, dimensions, bucket_start desc
    )
) b
order by chain, dimensions::text collate "C", bucket_start
