-- One row per session and title: what was watched, and whether it is a view.
create table if not exists watchbeat.watch_sessions (
    site text not null,
    user_id text not null,
    session_id text not null,
    video_id text not null,
    gross_ms bigint not null,
    unique_ms bigint not null,
    wall_ms bigint not null,
    heartbeats bigint not null,
    started_at bigint not null,
    last_at bigint not null,
    is_view boolean not null,
    is_complete boolean not null,
    device text,
    territory text not null,
-- yugabyte:
    primary key ((site, user_id) hash, session_id asc, video_id asc)
) split into 12 tablets;
-- postgres:
    primary key (site, user_id, session_id, video_id)
);
