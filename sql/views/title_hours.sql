-- What royalties are paid by: play, starts, views and completes of each title, by territory and hour.
create materialized view title_hours as
select
    site,
    video_id,
    territory,
    date_trunc('hour', minute) as hour,
    sum(gross_ms) as gross_ms,
    sum(qualified_ms) as qualified_ms,
    sum(wall_ms) as wall_ms,
    sum(starts) as starts,
    sum(views) as views,
    sum(completes) as completes
from plays
group by site, video_id, territory, hour
