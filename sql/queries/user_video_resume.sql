-- Where a user goes on with a title.
select position_ms, furthest_ms, event_time
from watchbeat.resume_positions
where site = $1 and user_id = $2 and video_id = $3
