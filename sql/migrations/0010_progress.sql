-- How far the tables are complete. next_offset is the guard of every transaction of the sink; partials_offset is the next
-- message it reads; the ledger counts are of the partition from the start of the log.
create table if not exists watchbeat.progress (
    pipeline text not null,
    partition bigint not null,
    next_offset bigint not null default 0,
    clock bigint not null default 0,
    fingerprint text not null default '',
    partials_offset bigint not null default 0,
    ticks bigint not null default 0,
    waiting bigint not null default 0,
    credited bigint not null default 0,
    idle bigint not null default 0,
    duplicate bigint not null default 0,
    overrun bigint not null default 0,
    gap bigint not null default 0,
    late bigint not null default 0,
    ad bigint not null default 0,
    updated_at timestamptz not null default now(),
-- yugabyte:
    primary key ((pipeline, partition) hash)
) split into 1 tablets;
-- postgres:
    primary key (pipeline, partition)
);
