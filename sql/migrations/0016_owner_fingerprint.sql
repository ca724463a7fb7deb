-- What the tables' figures were made with (kernel, parameters, partitions, SQL); empty before a sink has written since this was added.
alter table watchbeat.owner add column if not exists fingerprint text not null default '';
