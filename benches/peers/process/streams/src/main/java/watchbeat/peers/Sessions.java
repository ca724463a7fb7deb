package watchbeat.peers;

import com.google.protobuf.InvalidProtocolBufferException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.function.Function;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.api.FixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorContext;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;
import watchbeat.v1.HeartbeatsOuterClass.Record;

/**
 * The job as a Kafka Streams application: BROKERS INPUT_TOPIC PREFIX exactly_once_v2|at_least_once plain|dedup STATE_DIR.
 *
 * Heartbeats are brought together by session through one repartition topic; a session's row is a keyed aggregate, a video's minute is
 * summed from the windows of its sessions, which is how the DSL counts distinct ones.
 */
public final class Sessions {
    private static final int PARTITIONS = Integer.parseInt(System.getenv("PARTITIONS"));
    private static final Duration MINUTE = Duration.ofMinutes(1);
    private static final Duration GRACE = Duration.ofHours(24);
    private static final String SEEN = "seen";

    public static void main(String[] arguments) throws Exception {
        Properties settings = settings(arguments[0], arguments[2], arguments[3], arguments[5]);
        StreamsBuilder builder = new StreamsBuilder();
        build(builder, arguments[1], arguments[2], arguments[4].equals("dedup"));
        KafkaStreams streams = new KafkaStreams(builder.build(settings), settings);
        CountDownLatch ended = new CountDownLatch(1);
        streams.setStateListener((now, before) -> {
            if (now == KafkaStreams.State.ERROR || now == KafkaStreams.State.NOT_RUNNING) {
                ended.countDown();
            }
        });
        streams.start();
        ended.await();
        System.exit(1);
    }

    private static Properties settings(String brokers, String application, String guarantee, String dir) {
        Properties settings = new Properties();
        settings.putAll(Map.of(
            StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, brokers,
            StreamsConfig.APPLICATION_ID_CONFIG, application + "streams",
            StreamsConfig.PROCESSING_GUARANTEE_CONFIG, guarantee,
            StreamsConfig.STATE_DIR_CONFIG, dir,
            StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1, // one core
            StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 10_000, // as often as Flink's checkpoints
            StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 512L << 20, // merges the updates of a row between two commits
            StreamsConfig.TOPOLOGY_OPTIMIZATION_CONFIG, StreamsConfig.OPTIMIZE,
            StreamsConfig.REPLICATION_FACTOR_CONFIG, 1));
        settings.putAll(Map.of(
            StreamsConfig.producerPrefix("compression.type"), "lz4",
            StreamsConfig.producerPrefix("batch.size"), "262144",
            StreamsConfig.producerPrefix("buffer.memory"), "134217728",
            StreamsConfig.producerPrefix("transaction.timeout.ms"), "60000", // above the commit interval
            StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest",
            StreamsConfig.consumerPrefix("max.poll.records"), "10000",
            StreamsConfig.consumerPrefix("max.partition.fetch.bytes"), "4194304",
            StreamsConfig.consumerPrefix("session.timeout.ms"), "6000")); // the least a broker takes: a killed one is missed soon
        return settings;
    }

    private static void build(StreamsBuilder builder, String input, String prefix, boolean isDedup) {
        KStream<Bytes, Beat> beats = builder
            .stream(input, Consumed.with(Serdes.ByteArray(), serde(null, Sessions::record))
                .withTimestampExtractor((consumed, partitionTime) ->
                    consumed.value() instanceof Record record ? record.getEventTime() : partitionTime))
            .filter((user, record) -> record != null) // a tick
            .map((user, record) -> KeyValue.pair(
                key(record.getSite(), record.getUserId(), record.getSessionId(), record.getVideoId()), Beat.of(record)))
            .repartition(Repartitioned.<Bytes, Beat>as("beats").withNumberOfPartitions(PARTITIONS)
                .withKeySerde(Serdes.Bytes()).withValueSerde(Beat.SERDE));
        if (isDedup) {
            builder.addStateStore(Stores.keyValueStoreBuilder(
                Stores.persistentKeyValueStore(SEEN), Serdes.Bytes(), Serdes.ByteArray()).withCachingEnabled());
            beats = beats.processValues(FirstCopies::new, SEEN);
        }
        KGroupedStream<Bytes, Beat> bySession = beats.groupByKey(Grouped.with(Serdes.Bytes(), Beat.SERDE));
        bySession
            .aggregate(() -> Totals.NONE, (key, beat, totals) -> totals.with(beat),
                Materialized.<Bytes, Totals, KeyValueStore<Bytes, byte[]>>as("totals")
                    .withKeySerde(Serdes.Bytes()).withValueSerde(Totals.SERDE))
            .toStream()
            .mapValues(Sessions::sessionRow)
            .to(prefix + "sessions", Produced.with(Serdes.Bytes(), Serdes.ByteArray()));
        bySession
            .windowedBy(TimeWindows.ofSizeAndGrace(MINUTE, GRACE))
            .aggregate(() -> Totals.NONE, (key, beat, totals) -> totals.with(beat),
                Materialized.<Bytes, Totals, WindowStore<Bytes, byte[]>>as("session-minutes")
                    .withKeySerde(Serdes.Bytes()).withValueSerde(Totals.SERDE))
            .groupBy((window, totals) -> KeyValue.pair(minuteKey(window.key(), window.window().start()), totals),
                Grouped.with("minutes", Serdes.Bytes(), Totals.SERDE))
            .aggregate(() -> Minute.NONE,
                (key, totals, minute) -> minute.plus(totals, 1),
                (key, totals, minute) -> minute.plus(totals, -1),
                Materialized.<Bytes, Minute, KeyValueStore<Bytes, byte[]>>as("video-minutes")
                    .withKeySerde(Serdes.Bytes()).withValueSerde(Minute.SERDE))
            .toStream()
            .mapValues(Sessions::minuteRow)
            .to(prefix + "minutes", Produced.with(Serdes.Bytes(), Serdes.ByteArray()));
    }

    private static Record record(byte[] value) {
        try {
            return value.length == 0 ? null : Record.parseFrom(value);
        } catch (InvalidProtocolBufferException malformed) {
            throw new IllegalArgumentException(malformed);
        }
    }

    private static Bytes key(String... parts) {
        return Bytes.wrap(String.join("\0", parts).getBytes(StandardCharsets.UTF_8));
    }

    private static Bytes minuteKey(Bytes session, long minute) {
        String[] parts = text(session);
        return key(parts[0], parts[3], Long.toString(minute));
    }

    private static String[] text(Bytes key) {
        return new String(key.get(), StandardCharsets.UTF_8).split("\0");
    }

    private static byte[] sessionRow(Bytes key, Totals totals) {
        String[] parts = text(key);
        return SessionRow.newBuilder().setSite(parts[0]).setUserId(parts[1]).setSessionId(parts[2]).setVideoId(parts[3])
            .setHeartbeats(totals.heartbeats).setGrossMs(totals.grossMs).setFirstAt(totals.firstAt).setLastAt(totals.lastAt)
            .build().toByteArray();
    }

    private static byte[] minuteRow(Bytes key, Minute minute) {
        String[] parts = text(key);
        return MinuteRow.newBuilder().setSite(parts[0]).setVideoId(parts[1]).setMinute(Long.parseLong(parts[2]))
            .setHeartbeats(minute.heartbeats).setGrossMs(minute.grossMs).setSessions(minute.sessions).build().toByteArray();
    }

    /** A serde of plain functions; `write` is null where nothing is written. */
    private static <T> Serde<T> serde(Function<T, byte[]> write, Function<byte[], T> read) {
        Deserializer<T> deserializer = (topic, bytes) -> bytes == null ? null : read.apply(bytes);
        return Serdes.serdeFrom((topic, value) -> value == null ? null : write.apply(value), deserializer);
    }

    /** What of a heartbeat is needed, as it goes through the repartition topic. */
    private record Beat(int seq, long at, int grossMs) {
        static final Serde<Beat> SERDE = serde(
            beat -> ByteBuffer.allocate(16).putInt(beat.seq).putLong(beat.at).putInt(beat.grossMs).array(),
            bytes -> {
                ByteBuffer buffer = ByteBuffer.wrap(bytes);
                return new Beat(buffer.getInt(), buffer.getLong(), buffer.getInt());
            });

        static Beat of(Record record) {
            int grossMs = record.hasFromMs() ? record.getPositionMs() - record.getFromMs() : 0;
            return new Beat(record.getSeq(), record.getEventTime(), Math.max(grossMs, 0));
        }
    }

    /** Of a session, in all or in a minute. */
    private record Totals(long heartbeats, long grossMs, long firstAt, long lastAt) {
        static final Totals NONE = new Totals(0, 0, Long.MAX_VALUE, Long.MIN_VALUE);
        static final Serde<Totals> SERDE = serde(
            totals -> ByteBuffer.allocate(32).putLong(totals.heartbeats).putLong(totals.grossMs).putLong(totals.firstAt)
                .putLong(totals.lastAt).array(),
            bytes -> {
                ByteBuffer buffer = ByteBuffer.wrap(bytes);
                return new Totals(buffer.getLong(), buffer.getLong(), buffer.getLong(), buffer.getLong());
            });

        Totals with(Beat beat) {
            return new Totals(heartbeats + 1, grossMs + beat.grossMs, Math.min(firstAt, beat.at), Math.max(lastAt, beat.at));
        }
    }

    /** Of a video in a minute. */
    private record Minute(long heartbeats, long grossMs, long sessions) {
        static final Minute NONE = new Minute(0, 0, 0);
        static final Serde<Minute> SERDE = serde(
            minute -> ByteBuffer.allocate(24).putLong(minute.heartbeats).putLong(minute.grossMs).putLong(minute.sessions).array(),
            bytes -> {
                ByteBuffer buffer = ByteBuffer.wrap(bytes);
                return new Minute(buffer.getLong(), buffer.getLong(), buffer.getLong());
            });

        Minute plus(Totals totals, int sign) {
            return new Minute(heartbeats + sign * totals.heartbeats, grossMs + sign * totals.grossMs, sessions + sign);
        }
    }

    /** Lets the first copy of each report through: a bit for each `seq` of a session. */
    private static final class FirstCopies implements FixedKeyProcessor<Bytes, Beat, Beat> {
        private FixedKeyProcessorContext<Bytes, Beat> context;
        private KeyValueStore<Bytes, byte[]> seen;

        @Override
        public void init(FixedKeyProcessorContext<Bytes, Beat> context) {
            this.context = context;
            seen = context.getStateStore(SEEN);
        }

        @Override
        public void process(FixedKeyRecord<Bytes, Beat> record) {
            int seq = record.value().seq;
            byte[] before = seen.get(record.key());
            if (before != null && seq / 8 < before.length && (before[seq / 8] >> (seq % 8) & 1) == 1) {
                return;
            }
            byte[] now = new byte[Math.max(before == null ? 0 : before.length, seq / 8 + 1)];
            if (before != null) {
                System.arraycopy(before, 0, now, 0, before.length);
            }
            now[seq / 8] |= (byte) (1 << (seq % 8));
            seen.put(record.key(), now);
            context.forward(record);
        }
    }
}
