-- Wall time and viewers of each title, minute by minute.
create materialized view video_minutes as
select
    site,
    video_id,
    minute,
    sum(wall_ms) as watch_ms,
    sum(viewers) as viewers
from plays
where wall_ms <> 0 or viewers <> 0
group by site, video_id, minute
