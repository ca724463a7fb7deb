package watchbeat.peers;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Makes a topic of the lines on standard input, each a partition, a key and a value with tabs between: BROKERS TOPIC PARTITIONS. */
public final class Lines {
    public static void main(String[] arguments) throws Exception {
        String topic = arguments[1];
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", arguments[0]))) {
            admin.createTopics(List.of(new NewTopic(topic, Integer.parseInt(arguments[2]), (short) 1))).all().get();
        }
        // Not idempotent: with that, a small topic on a fresh broker was not acknowledged within two minutes. In order it stays all the same.
        Properties settings = new Properties();
        settings.putAll(Map.of(
            "bootstrap.servers", arguments[0], "acks", "1", "enable.idempotence", "false", "compression.type", "lz4", "linger.ms", "20",
            "batch.size", "262144", "buffer.memory", "134217728", "max.in.flight.requests.per.connection", "1"));
        var failed = new AtomicReference<Exception>();
        try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
            var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8), 1 << 20)) {
            for (String line; (line = lines.readLine()) != null;) {
                String[] parts = line.split("\t", 3);
                producer.send(new ProducerRecord<>(topic, Integer.valueOf(parts[0]), bytes(parts[1]), bytes(parts[2])), (metadata, failure) -> {
                    if (failure != null) {
                        failed.compareAndSet(null, failure);
                    }
                });
            }
            producer.flush();
        }
        if (failed.get() != null) {
            throw failed.get();
        }
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
