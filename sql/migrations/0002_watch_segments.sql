-- The maximal intervals of content that a session has watched.
create table if not exists watchbeat.watch_segments (
    site text not null,
    user_id text not null,
    session_id text not null,
    video_id text not null,
    from_ms bigint not null,
    to_ms bigint not null,
-- yugabyte:
    primary key ((site, user_id) hash, session_id asc, video_id asc, from_ms asc)
) split into 12 tablets;
-- postgres:
    primary key (site, user_id, session_id, video_id, from_ms)
);
