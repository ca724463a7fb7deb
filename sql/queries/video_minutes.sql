-- Audience of a title, in the minutes that start in [from, to).
select (extract(epoch from minute) * 1000)::bigint, watch_ms, viewers
from watchbeat.video_minutes
where site = $1 and video_id = $2
    and minute >= coalesce($3::timestamptz, '-infinity') and minute < coalesce($4::timestamptz, 'infinity')
order by minute
limit $5
