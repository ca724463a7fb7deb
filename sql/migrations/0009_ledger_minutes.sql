-- How the records of the log ended, by minute in which they were received. Hashed on the minute too, or the
-- newest minute of a site would be one hot tablet.
create table if not exists watchbeat.ledger_minutes (
    site text not null,
    minute timestamptz not null,
    disposition text not null,
    heartbeats bigint not null,
-- yugabyte:
    primary key ((site, minute) hash, disposition asc)
) split into 6 tablets;
-- postgres:
    primary key (site, minute, disposition)
);
