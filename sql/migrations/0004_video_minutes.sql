-- Audience of a title by minute of wall time.
create table if not exists watchbeat.video_minutes (
    site text not null,
    video_id text not null,
    minute timestamptz not null,
    watch_ms bigint not null,
    viewers bigint not null,
-- yugabyte:
    primary key ((site, video_id) hash, minute asc)
) split into 12 tablets;
-- postgres:
    primary key (site, video_id, minute)
);
