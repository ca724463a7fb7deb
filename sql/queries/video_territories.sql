-- Consumption of a title per territory, in the hours that start in [from, to).
select territory, sum(gross_ms)::bigint, sum(qualified_ms)::bigint, sum(wall_ms)::bigint,
    sum(starts)::bigint, sum(views)::bigint, sum(completes)::bigint
from watchbeat.title_hours
where site = $1 and video_id = $2
    and hour >= coalesce($3::timestamptz, '-infinity') and hour < coalesce($4::timestamptz, 'infinity')
group by territory
order by territory
limit $5
