-- The sessions of a user with a title, the newest first.
select session_id, gross_ms, unique_ms, wall_ms, heartbeats, started_at, last_at, is_view, is_complete, device, territory
from watchbeat.watch_sessions
where site = $1 and user_id = $2 and video_id = $3
order by started_at desc, session_id
limit $4
