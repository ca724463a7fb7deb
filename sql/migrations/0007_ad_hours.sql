-- Impressions of an ad line by hour.
create table if not exists watchbeat.ad_hours (
    site text not null,
    line_id text not null,
    hour timestamptz not null,
    impressions bigint not null,
    measurable bigint not null,
    viewable bigint not null,
    q1 bigint not null,
    q2 bigint not null,
    q3 bigint not null,
    q4 bigint not null,
-- yugabyte:
    primary key ((site, line_id) hash, hour asc)
) split into 6 tablets;
-- postgres:
    primary key (site, line_id, hour)
);
