-- The retention curve: content played, rewatches included, by ten seconds of the title and day of the report.
create materialized view video_retention as
select
    site,
    video_id,
    date_trunc('day', to_timestamp_millis(event_time)) as day,
    bucket,
    sum(least(to_ms, (bucket + 1) * 10000) - greatest(from_ms, bucket * 10000)) as gross_ms
from (
    select
        site,
        video_id,
        event_time,
        from_ms,
        to_ms,
        unnest(generate_series(from_ms / 10000, (to_ms - 1) / 10000)) as bucket
    from intervals
) as buckets
group by site, video_id, day, bucket
