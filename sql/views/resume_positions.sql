-- Where each user would resume each title, and how far he ever came.
create materialized view resume_positions as
select
    site,
    user_id,
    video_id,
    last_value(position_ms order by ordinal) as position_ms,
    max(furthest_ms) as furthest_ms,
    last_value(event_time order by ordinal) as event_time
from resumes
group by site, user_id, video_id
