-- Whether anything is known of a title: in the catalogue, or by somebody who watched it.
select exists (select from watchbeat.videos where video_id = $2)
    or exists (select from watchbeat.title_hours where site = $1 and video_id = $2)
    or exists (select from watchbeat.video_minutes where site = $1 and video_id = $2)
