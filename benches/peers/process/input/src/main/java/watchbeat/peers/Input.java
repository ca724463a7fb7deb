package watchbeat.peers;

import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import watchbeat.v1.HeartbeatsOuterClass.Record;

/**
 * Writes the input: BROKERS TOPIC HEARTBEATS VIEWERS SEED START_MS. All viewers watch at once, a report every five seconds each, as
 * `cargo bench-process` writes them; a given share of the reports is sent twice, comes minutes late, or was played offline hours ago.
 * The same arguments write the same records in the same order.
 */
public final class Input {
    /** Reports that are sent a second time, in thousandths. */
    private static final int TWICE = 10;
    /** Reports that are held back for a minute or longer, in thousandths. */
    private static final int HELD_BACK = 10;
    /** Further reports for each thousand, of sessions played offline one to six hours before. */
    private static final int OFFLINE = 10;

    private static final int SESSION_REPORTS = 720;
    private static final int TITLES = 2_000;
    private static final int BEAT_MS = 5_000;
    private static final int MINUTE_BEATS = 12;
    private static final int HOUR_MS = 3_600_000;

    private final long viewers;
    private final long seed;
    private final long start;
    private final int beats;
    private final KafkaProducer<byte[], byte[]> producer;
    private final String topic;
    private final AtomicReference<Exception> failed = new AtomicReference<>();
    private final List<ArrayDeque<Record>> waiting = new ArrayList<>();
    private final short[] offlineReports;
    private long sent;
    private long waits;

    public static void main(String[] arguments) throws Exception {
        long heartbeats = Long.parseLong(arguments[2]);
        Watch.create(arguments[0], List.of(arguments[1]));
        Properties settings = new Properties();
        settings.putAll(Map.of(
            "bootstrap.servers", arguments[0], "acks", "all", "compression.type", "lz4", "linger.ms", "20",
            "batch.size", "262144", "buffer.memory", "134217728"));
        try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            var input = new Input(producer, arguments[1], heartbeats, Long.parseLong(arguments[3]),
                Long.parseLong(arguments[4]), Long.parseLong(arguments[5]));
            input.write(heartbeats);
            producer.flush();
            if (input.failed.get() != null) {
                throw input.failed.get();
            }
        }
    }

    private Input(KafkaProducer<byte[], byte[]> producer, String topic, long heartbeats, long viewers, long seed, long start) {
        this.producer = producer;
        this.topic = topic;
        this.viewers = viewers;
        this.seed = seed;
        this.start = start;
        this.beats = (int) (heartbeats / viewers) + 1;
        this.offlineReports = new short[(int) viewers];
        for (int beat = 0; beat <= beats; beat++) {
            waiting.add(new ArrayDeque<>());
        }
    }

    private void write(long heartbeats) {
        for (int beat = 0; sent + waits < heartbeats; beat++) {
            for (Record record; (record = waiting.get(beat).poll()) != null; waits--) {
                send(record);
            }
            for (long viewer = 0; viewer < viewers && sent + waits < heartbeats; viewer++) {
                watch(viewer, beat, heartbeats);
            }
        }
        for (ArrayDeque<Record> later : waiting) {
            later.forEach(this::send);
        }
    }

    /** What a viewer does in a beat. */
    private void watch(long viewer, int beat, long heartbeats) {
        long chance = mix(seed ^ mix(viewer * 1_000_003 + beat));
        Record record = online(viewer, beat);
        if (Long.remainderUnsigned(chance, 1_000) < HELD_BACK) {
            await(beat + MINUTE_BEATS + (int) ((chance >>> 32) % beats), record);
        } else {
            send(record);
        }
        long second = mix(chance);
        if (Long.remainderUnsigned(second, 1_000) < TWICE && sent + waits < heartbeats) {
            await(beat + 1 + (int) ((second >>> 32) % 20), record);
        }
        long third = mix(second);
        if (Long.remainderUnsigned(third, 1_000) < OFFLINE && sent + waits < heartbeats) {
            send(offline(viewer));
        }
    }

    private void await(int beat, Record record) {
        waiting.get(Math.min(beat, beats)).add(record);
        waits++;
    }

    private Record online(long viewer, int beat) {
        long session = beat / SESSION_REPORTS;
        return record(viewer, session, beat % SESSION_REPORTS, start + (long) beat * BEAT_MS + viewer % BEAT_MS);
    }

    /** The next report of what a viewer has watched on a plane, one to six hours ago. */
    private Record offline(long viewer) {
        int report = offlineReports[(int) viewer]++;
        long ago = HOUR_MS + Math.floorMod(mix(seed + viewer), 5L * HOUR_MS);
        return record(viewer, 9_000, report, start - ago + (long) report * BEAT_MS);
    }

    private static Record record(long viewer, long session, int seq, long at) {
        return Record.newBuilder()
            .setSite("default")
            .setUserId("user-" + padded(viewer, 8))
            .setSessionId("0190a2b4-77c3-7d11-9e2f-" + padded(viewer, 8) + padded(session, 4))
            .setVideoId("title-" + padded((viewer * 7 + session * 13) % TITLES, 5))
            .setSeq(seq)
            .setEventTime(at)
            .setReceivedAt(at + 40)
            .setPositionMs((seq + 1) * BEAT_MS)
            .setFromMs(seq * BEAT_MS)
            .setPlayedMs(BEAT_MS)
            .setDurationMs(5_400_000)
            .setTerritory("" + (char) ('A' + viewer % 5) + (char) ('A' + viewer % 6))
            .setDevice("tv")
            .build();
    }

    private static String padded(long number, int digits) {
        String text = Long.toString(number);
        return "0".repeat(digits - text.length()) + text;
    }

    private void send(Record record) {
        byte[] key = (record.getSite() + '\0' + record.getUserId()).getBytes(StandardCharsets.UTF_8);
        producer.send(new ProducerRecord<>(topic, key, record.toByteArray()), (metadata, failure) -> {
            if (failure != null) {
                failed.compareAndSet(null, failure);
            }
        });
        sent++;
    }

    /** SplitMix64. */
    private static long mix(long value) {
        long z = value + 0x9E3779B97F4A7C15L;
        z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
        z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
        return z ^ (z >>> 31);
    }
}
