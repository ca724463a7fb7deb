-- What became of the records of each partition.
select pipeline, partition, next_offset, ticks, waiting, credited, idle, duplicate, overrun, gap, late, ad
from watchbeat.progress
order by pipeline, partition
