-- Catalogue: what a licensor is owed for a title in a territory, per hour watched.
create table if not exists watchbeat.licences (
    licensor_id text not null,
    video_id text not null,
    territory text not null,
    valid_from timestamptz not null,
    valid_to timestamptz,
    rate_micros_per_hour bigint not null,
    min_view boolean not null default false,
-- yugabyte:
    primary key ((video_id) hash, licensor_id asc, territory asc, valid_from asc)
) split into 3 tablets;
-- postgres:
    primary key (video_id, licensor_id, territory, valid_from)
);
