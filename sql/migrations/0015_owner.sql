-- The pipeline whose figures the tables hold: there is one row, and nobody else may add to them.
create table if not exists watchbeat.owner (
    is_taken boolean not null default true check (is_taken),
    pipeline text not null,
-- yugabyte:
    primary key ((is_taken) hash)
) split into 1 tablets;
-- postgres:
    primary key (is_taken)
);
-- both:
insert into watchbeat.owner (pipeline) select pipeline from watchbeat.progress where next_offset > 0 limit 1
    on conflict (is_taken) do nothing;
