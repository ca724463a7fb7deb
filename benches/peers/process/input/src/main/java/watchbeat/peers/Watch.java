package watchbeat.peers;

import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import watchbeat.peers.Truth.Sums;

/**
 * Watches what a program makes of the input, and judges it: BROKERS INPUT_TOPIC rows|partials PREFIX once|every SETTLE_SECONDS PIPELINE.
 * Prints a line when the input is known, a line with what is done whenever that has changed (and when that was appended, so that it does
 * not matter how fast this is), and at last, when all is done and nothing has come for SETTLE_SECONDS, how the tables differ from the
 * input.
 */
public final class Watch {
    private static final int PARTITIONS = Integer.parseInt(System.getenv("PARTITIONS"));
    private static final long LINE_MS = 50;
    private static final long GIVE_UP_MS = 100_000;

    private final KafkaConsumer<byte[], byte[]> consumer;

    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        settings.putAll(Map.of(
            "bootstrap.servers", arguments[0], "isolation.level", "read_committed", "max.poll.records", "20000",
            "fetch.min.bytes", "1", "fetch.max.wait.ms", "50", "max.partition.fetch.bytes", "8388608"));
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            boolean isPartials = arguments[2].equals("partials");
            List<String> topics = Stream.of(isPartials ? new String[] {"partials_" + arguments[6]} : new String[] {"sessions", "minutes"})
                .map(name -> arguments[3] + name).toList();
            Watch watch = new Watch(consumer);
            Map<TopicPartition, Long> ends = watch.ends(List.of(arguments[1]));
            Truth truth = watch.truth(ends);
            create(arguments[0], topics);
            System.out.printf("{\"records\":%d,\"once\":%d}%n", truth.records, truth.once);
            boolean isOnce = arguments[4].equals("once");
            Tables tables = isPartials ? new Tables.Partials(arguments[6], byPartition(ends)) : new Tables.Rows();
            long expected = isOnce && !isPartials ? truth.once : truth.records;
            watch.watch(tables, topics, expected, Long.parseLong(arguments[5]) * 1_000);
            watch.judge(tables, truth, isPartials);
        }
    }

    private Watch(KafkaConsumer<byte[], byte[]> consumer) {
        this.consumer = consumer;
    }

    /** Makes a topic, if it is not there, with as many partitions as the input has. */
    static void create(String brokers, List<String> topics) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
            var there = admin.listTopics().names().get();
            admin.createTopics(topics.stream().filter(topic -> !there.contains(topic))
                .map(topic -> new NewTopic(topic, PARTITIONS, (short) 1)).toList()).all().get();
        }
    }

    private Map<TopicPartition, Long> ends(Collection<String> topics) {
        List<TopicPartition> partitions = topics.stream().flatMap(topic -> consumer.partitionsFor(topic).stream())
            .map(partition -> new TopicPartition(partition.topic(), partition.partition())).toList();
        consumer.assign(partitions);
        consumer.seekToBeginning(partitions);
        return consumer.endOffsets(partitions);
    }

    private static Map<Integer, Long> byPartition(Map<TopicPartition, Long> ends) {
        return ends.entrySet().stream().collect(Collectors.toMap(end -> end.getKey().partition(), Map.Entry::getValue));
    }

    private Truth truth(Map<TopicPartition, Long> ends) throws Exception {
        Truth truth = new Truth();
        while (ends.entrySet().stream().anyMatch(end -> consumer.position(end.getKey()) < end.getValue())) {
            for (var record : consumer.poll(Duration.ofMillis(100))) {
                truth.add(record);
            }
        }
        return truth;
    }

    private void watch(Tables tables, List<String> topics, long expected, long settleMs) throws Exception {
        ends(topics);
        long printed = 0;
        long lineAt = 0;
        long movedAt = System.currentTimeMillis();
        long appendedAt = 0;
        while (true) {
            var records = consumer.poll(Duration.ofMillis(50));
            long now = System.currentTimeMillis();
            if (!records.isEmpty()) {
                movedAt = now;
                for (var record : records) {
                    tables.take(record);
                    appendedAt = Math.max(appendedAt, record.timestamp());
                }
            }
            if (movedAt > lineAt && now - lineAt >= LINE_MS || tables.done() >= expected && printed < expected) {
                System.out.printf("{\"done\":%d,\"expected\":%d,\"at_ms\":%d}%n", tables.done(), expected, appendedAt);
                printed = tables.done();
                lineAt = now;
            }
            if (now - movedAt > (tables.done() >= expected ? settleMs : GIVE_UP_MS)) {
                return;
            }
        }
    }

    private void judge(Tables tables, Truth truth, boolean isPartials) {
        String sessions = compared(tables.sessions, truth.sessions(true), truth.sessions(false), truth);
        Map<String, Sums> minutes = isPartials ? truth.wall() : truth.minutes(true);
        String videos = compared(tables.minutes, minutes, isPartials ? minutes : truth.minutes(false), null);
        System.out.printf("{\"judged\":{\"sessions\":%s,\"minutes\":%s}}%n", sessions, videos);
    }

    /** How rows differ from the truth, and from what the sum of all copies would be. */
    private static String compared(Map<String, Sums> rows, Map<String, Sums> once, Map<String, Sums> every, Truth truth) {
        Map<String, Long> counts = new HashMap<>();
        for (var row : once.entrySet()) {
            Sums found = rows.getOrDefault(row.getKey(), null);
            if (row.getValue().equals(found)) {
                continue;
            }
            count(counts, "wrong", 1);
            count(counts, "missing", found == null ? 1 : 0);
            long by = (found == null ? 0 : found.grossMs) - row.getValue().grossMs;
            count(counts, by > 0 ? "ms_too_much" : "ms_too_little", Math.abs(by));
            if (!every.get(row.getKey()).equals(found)) {
                count(counts, "wrong_beyond_copies", 1);
            }
            if (truth != null && !truth.hasCopies(row.getKey())) {
                count(counts, truth.isLate(row.getKey()) ? "wrong_late" : "wrong_plain", 1);
            }
        }
        count(counts, "invented", rows.keySet().stream().filter(key -> !once.containsKey(key)).count());
        counts.put("rows", (long) once.size());
        return counts.entrySet().stream().map(count -> "\"" + count.getKey() + "\":" + count.getValue())
            .collect(Collectors.joining(",", "{", "}"));
    }

    private static void count(Map<String, Long> counts, String name, long by) {
        counts.merge(name, by, Long::sum);
    }
}
