-- Which parts of a title were watched, on the days that start in [from, to).
select bucket, sum(gross_ms)::bigint
from watchbeat.video_retention
where site = $1 and video_id = $2
    and day >= coalesce($3::timestamptz, '-infinity') and day < coalesce($4::timestamptz, 'infinity')
group by bucket
order by bucket
limit $5
