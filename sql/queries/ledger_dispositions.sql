-- What became of all records, by the table that analysts read.
select disposition, sum(heartbeats)::bigint
from watchbeat.ledger_minutes
group by disposition
order by disposition
