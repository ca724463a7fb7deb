-- What became of every record of the log, by the minute in which it was received.
create materialized view ledger_minutes as
select
    site,
    date_trunc('minute', to_timestamp_millis(received_at)) as minute,
    disposition,
    count(*) as heartbeats
from dispositions
group by site, minute, disposition
