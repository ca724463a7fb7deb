-- What a user has watched of a title, per session: the union over the sessions is taken by the reader.
select from_ms, to_ms
from watchbeat.watch_segments
where site = $1 and user_id = $2 and video_id = $3
order by from_ms, to_ms
limit $4
