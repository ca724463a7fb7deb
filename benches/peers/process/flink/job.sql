-- The job in Flink SQL. Statements end with two semicolons; names in braces are filled in.
create table log (
    site string,
    user_id string,
    session_id string,
    video_id string,
    seq int,
    event_time bigint,
    position_ms int,
    from_ms int,
    arrived as proctime()
) with (
    'connector' = 'kafka',
    'topic' = '{input}',
    'properties.bootstrap.servers' = '{brokers}',
    'properties.group.id' = '{prefix}flink',
    'properties.max.poll.records' = '10000',
    'properties.max.partition.fetch.bytes' = '4194304',
    'scan.startup.mode' = 'earliest-offset',
    'format' = 'protobuf',
    'protobuf.message-class-name' = 'watchbeat.v1.HeartbeatsOuterClass$Record'
);;
create table sessions (
    site string,
    user_id string,
    session_id string,
    video_id string,
    heartbeats bigint,
    gross_ms bigint,
    first_at bigint,
    last_at bigint,
    primary key (site, user_id, session_id, video_id) not enforced
) with (
    'connector' = 'upsert-kafka',
    'topic' = '{prefix}sessions',
    'properties.bootstrap.servers' = '{brokers}',
    'properties.compression.type' = 'lz4',
    'properties.batch.size' = '262144',
    'properties.linger.ms' = '100',
    'key.format' = 'protobuf',
    'key.protobuf.message-class-name' = 'watchbeat.peers.SessionKey',
    'value.format' = 'protobuf',
    'value.protobuf.message-class-name' = 'watchbeat.peers.SessionRow'
);;
create table minutes (
    site string,
    video_id string,
    `minute` bigint,
    heartbeats bigint,
    gross_ms bigint,
    sessions bigint,
    primary key (site, video_id, `minute`) not enforced
) with (
    'connector' = 'upsert-kafka',
    'topic' = '{prefix}minutes',
    'properties.bootstrap.servers' = '{brokers}',
    'properties.compression.type' = 'lz4',
    'properties.batch.size' = '262144',
    'properties.linger.ms' = '100',
    'key.format' = 'protobuf',
    'key.protobuf.message-class-name' = 'watchbeat.peers.MinuteKey',
    'value.format' = 'protobuf',
    'value.protobuf.message-class-name' = 'watchbeat.peers.MinuteRow'
);;
create view heartbeats as
select site, user_id, session_id, video_id, event_time, cast(position_ms - from_ms as bigint) as gross_ms
from {source}
where site <> '';;
execute statement set
begin
    insert into sessions
    select site, user_id, session_id, video_id, count(*), sum(gross_ms), min(event_time), max(event_time)
    from heartbeats
    group by site, user_id, session_id, video_id;
    insert into minutes
    select site, video_id, event_time - mod(event_time, 60000), count(*), sum(gross_ms), count(distinct session_id)
    from heartbeats
    group by site, video_id, event_time - mod(event_time, 60000);
end
