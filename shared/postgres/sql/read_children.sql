-- The buckets of a size in a range of times, if all of its windows are final under the present calculation; otherwise no row.
with whole as (
    select
    from windows w
    where w.metric_id = $1
      and w.bucket_size = $2
      and w.bucket_start >= $3
      and w.bucket_start < $4
      and w.chain = $5
      and w.final
      and w.base_version >= (
          select case when r.definition ? 'max_dimensions' then r.version else r.calculation_version end -- the limit may be new
          from metric_registry r
          where r.metric_id = $1
      )
      and w.cut is null
    having count(*) = $6
)
select d.bucket_start, d.dimensions, d.state
from whole
left join metrics_data d
    on d.metric_id = $1
    and d.bucket_size = $2
    and d.bucket_start >= $3
    and d.bucket_start < $4
    and d.chain = $5
limit $7
