-- Catalogue: the titles.
create table if not exists watchbeat.videos (
    video_id text not null,
    title text not null,
    duration_ms bigint,
    licensor_id text,
-- yugabyte:
    primary key ((video_id) hash)
) split into 3 tablets;
-- postgres:
    primary key (video_id)
);
