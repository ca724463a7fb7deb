-- Catalogue: the booked lines of advertisers.
create table if not exists watchbeat.ad_lines (
    line_id text not null,
    advertiser_id text not null,
    name text not null,
-- yugabyte:
    primary key ((line_id) hash)
) split into 3 tablets;
-- postgres:
    primary key (line_id)
);
