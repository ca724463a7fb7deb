-- Distinct users of an ad line by day.
create table if not exists watchbeat.ad_reach (
    site text not null,
    line_id text not null,
    day timestamptz not null,
    users bigint not null,
-- yugabyte:
    primary key ((site, line_id) hash, day asc)
) split into 6 tablets;
-- postgres:
    primary key (site, line_id, day)
);
