-- Consumption of a title by territory and hour: what royalties are computed from.
create table if not exists watchbeat.title_hours (
    site text not null,
    video_id text not null,
    territory text not null,
    hour timestamptz not null,
    gross_ms bigint not null,
    qualified_ms bigint not null,
    wall_ms bigint not null,
    starts bigint not null,
    views bigint not null,
    completes bigint not null,
-- yugabyte:
    primary key ((site, video_id) hash, territory asc, hour asc)
) split into 12 tablets;
-- postgres:
    primary key (site, video_id, territory, hour)
);
