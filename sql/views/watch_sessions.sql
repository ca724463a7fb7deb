-- One row per session key: what was played, and what the session said of itself.
create materialized view watch_sessions as
select
    site,
    user_id,
    session_id,
    video_id,
    sum(gross_ms) as gross_ms,
    sum(unique_ms) as unique_ms,
    sum(wall_ms) as wall_ms,
    sum(heartbeats) as heartbeats,
    min(event_time) as started_at,
    max(event_time) as last_at,
    bool_or(is_view) as is_view,
    bool_or(is_complete) as is_complete,
    last_value(device order by ordinal) as device,
    last_value(territory order by ordinal) as territory
from sessions
group by site, user_id, session_id, video_id
