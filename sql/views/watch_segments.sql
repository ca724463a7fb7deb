-- The maximal intervals of each session's union; `op` 0 deletes one that another took in.
create materialized view watch_segments as
select
    site,
    user_id,
    session_id,
    video_id,
    from_ms,
    last_value(to_ms order by ordinal) as to_ms,
    last_value(keep order by ordinal) as op
from segments
group by site, user_id, session_id, video_id, from_ms
