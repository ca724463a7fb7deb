-- Where a user goes on with a title.
create table if not exists watchbeat.resume_positions (
    site text not null,
    user_id text not null,
    video_id text not null,
    position_ms bigint not null,
    furthest_ms bigint not null,
    event_time bigint not null,
-- yugabyte:
    primary key ((site, user_id) hash, video_id asc)
) split into 12 tablets;
-- postgres:
    primary key (site, user_id, video_id)
);
