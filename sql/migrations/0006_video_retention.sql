-- Which parts of a title were watched: content in buckets of 10 s, by day.
create table if not exists watchbeat.video_retention (
    site text not null,
    video_id text not null,
    day timestamptz not null,
    bucket bigint not null,
    gross_ms bigint not null,
-- yugabyte:
    primary key ((site, video_id) hash, day asc, bucket asc)
) split into 12 tablets;
-- postgres:
    primary key (site, video_id, day, bucket)
);
