-- The input, and what must come of it: rows of `watch_sessions` as a stream job publishes them, each again whenever it changed.

-- The rows in their n-th version: a minute of play more each time.
create or replace function peers.rows(keys bigint, version bigint) returns setof watchbeat.watch_sessions language sql as $$
    select
        'default',
        'user-' || lpad(key::text, 8, '0'),
        '0190a2b4-77c3-7d11-9e2f-' || lpad(key::text, 12, '0'),
        'title-' || lpad((key * 7 % 2000)::text, 5, '0'),
        60000 * version,
        60000 * version,
        60000 * version,
        12 * version,
        1790000000000 + key % 5000,
        1790000000000 + key % 5000 + 60000 * version - 5000,
        true,
        version >= 90,
        'tv',
        chr(65 + (key % 5)::int) || chr(65 + (key % 6)::int)
    from generate_series(0, keys - 1) as key
$$;

-- The same as records of the topic. Those of a viewer are on one partition.
create or replace function peers.records(keys bigint, version bigint, partitions bigint)
returns table (partition bigint, key json, value json) language sql as $$
    select
        right(user_id, 8)::bigint % partitions,
        json_build_object('site', site, 'user_id', user_id, 'session_id', session_id, 'video_id', video_id),
        json_build_object(
            'gross_ms', gross_ms, 'unique_ms', unique_ms, 'wall_ms', wall_ms, 'heartbeats', heartbeats, 'started_at', started_at,
            'last_at', last_at, 'is_view', is_view, 'is_complete', is_complete, 'device', device, 'territory', territory
        )
    from peers.rows(keys, version)
$$;
