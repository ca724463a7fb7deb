-- How far the tables are complete, per pipeline and partition.
select pipeline, partition, next_offset, clock
from watchbeat.progress
order by pipeline, partition
