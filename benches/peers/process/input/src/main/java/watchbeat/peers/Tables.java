package watchbeat.peers;

import com.github.luben.zstd.ZstdInputStream;
import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import watchbeat.peers.Truth.Sums;
import watchbeat.v1.PartialOuterClass.Numbers;
import watchbeat.v1.PartialOuterClass.Partial;
import watchbeat.v1.PartialOuterClass.Table;
import watchbeat.v1.PartialOuterClass.Texts;

/** What one of the compared programs has put out so far, as rows that can be held against {@link Truth}. */
abstract class Tables {
    final Map<String, Sums> sessions = new HashMap<>();
    final Map<String, Sums> minutes = new HashMap<>();

    abstract void take(ConsumerRecord<byte[], byte[]> record) throws Exception;

    /** How many heartbeats the rows stand for. */
    abstract long done();

    /** The newest row of each key, on the topics PREFIXsessions and PREFIXminutes. */
    static final class Rows extends Tables {
        private long bySession;
        private long byMinute;

        @Override
        void take(ConsumerRecord<byte[], byte[]> record) throws Exception {
            if (record.value() == null) {
                throw new IllegalStateException("a row was deleted on " + record.topic());
            }
            if (record.topic().endsWith("sessions")) {
                SessionRow row = SessionRow.parseFrom(record.value());
                Sums sums = new Sums();
                sums.heartbeats = row.getHeartbeats();
                sums.grossMs = row.getGrossMs();
                sums.firstAt = row.getFirstAt();
                sums.lastAt = row.getLastAt();
                String key = String.join("\0", row.getSite(), row.getUserId(), row.getSessionId(), row.getVideoId());
                bySession += difference(sessions.put(key, sums), sums);
            } else {
                MinuteRow row = MinuteRow.parseFrom(record.value());
                Sums sums = Truth.timeless();
                sums.heartbeats = row.getHeartbeats();
                sums.grossMs = row.getGrossMs();
                sums.sessions = row.getSessions();
                String key = String.join("\0", row.getSite(), row.getVideoId(), Long.toString(row.getMinute()));
                byMinute += difference(minutes.put(key, sums), sums);
            }
        }

        private static long difference(Sums before, Sums now) {
            return now.heartbeats - (before == null ? 0 : before.heartbeats);
        }

        @Override
        long done() {
            return Math.min(bySession, byMinute);
        }
    }

    /** The sums of Watchbeat's partials, each epoch once as its sink brings them in, on its own topic. */
    static final class Partials extends Tables {
        private final Map<Integer, Long> upto = new TreeMap<>();
        private final String pipeline;
        private final Map<Integer, Long> ends;

        Partials(String pipeline, Map<Integer, Long> ends) {
            this.pipeline = pipeline;
            this.ends = ends;
        }

        @Override
        void take(ConsumerRecord<byte[], byte[]> record) throws Exception {
            Partial partial = Partial.parseFrom(new ZstdInputStream(new ByteArrayInputStream(record.value())).readAllBytes());
            if (!partial.getPipeline().equals(pipeline)) {
                return;
            }
            long next = upto.getOrDefault(partial.getPartition(), 0L);
            if (partial.getTo() <= next) {
                return; // published again after a restart
            }
            if (partial.getFrom() != next) {
                throw new IllegalStateException("an epoch begins at " + partial.getFrom() + ", the one before ended at " + next);
            }
            upto.put(partial.getPartition(), partial.getTo());
            String[] texts = texts(partial.getTexts());
            for (Table table : partial.getTablesList()) {
                if (table.getName().equals("watch_sessions")) {
                    addSessions(table, texts);
                } else if (table.getName().equals("video_minutes")) {
                    addMinutes(table, texts);
                }
            }
        }

        private void addSessions(Table table, String[] texts) {
            Map<String, long[]> columns = columns(table);
            for (int row = 0; row < table.getRows(); row++) {
                String key = String.join("\0", texts[(int) columns.get("site")[row]], texts[(int) columns.get("user_id")[row]],
                    texts[(int) columns.get("session_id")[row]], texts[(int) columns.get("video_id")[row]]);
                Sums sums = sessions.computeIfAbsent(key, unknown -> new Sums());
                sums.heartbeats += columns.get("heartbeats")[row];
                sums.grossMs += columns.get("gross_ms")[row];
                sums.firstAt = Math.min(sums.firstAt, columns.get("started_at")[row]);
                sums.lastAt = Math.max(sums.lastAt, columns.get("last_at")[row]);
            }
        }

        private void addMinutes(Table table, String[] texts) {
            Map<String, long[]> columns = columns(table);
            for (int row = 0; row < table.getRows(); row++) {
                String minute = Long.toString(columns.get("minute")[row]);
                String key = String.join("\0", texts[(int) columns.get("site")[row]], texts[(int) columns.get("video_id")[row]], minute);
                Sums sums = minutes.computeIfAbsent(key, unknown -> Truth.timeless());
                sums.grossMs += columns.get("watch_ms")[row];
                sums.sessions += columns.get("viewers")[row];
            }
        }

        private static Map<String, long[]> columns(Table table) {
            Map<String, long[]> columns = new HashMap<>();
            table.getColumnsList().forEach(column -> columns.put(column.getName(), numbers(column.getValues())));
            return columns;
        }

        private static String[] texts(Texts texts) {
            byte[] all = texts.getAllBytes().toByteArray();
            long[] lengths = numbers(texts.getLengths());
            String[] apart = new String[lengths.length];
            int from = 0;
            for (int number = 0; number < lengths.length; number++) {
                apart[number] = new String(all, from, (int) lengths[number], StandardCharsets.UTF_8);
                from += (int) lengths[number];
            }
            return apart;
        }

        private static long[] numbers(Numbers packed) {
            long[] numbers = new long[packed.getCount()];
            int width = packed.getWidth();
            for (int index = 0; index < numbers.length; index++) {
                long above = 0;
                for (int digit = width - 1; digit >= 0; digit--) {
                    above = above << 8 | packed.getAbove().byteAt(index * width + digit) & 0xff;
                }
                numbers[index] = packed.getLeast() + above;
            }
            return numbers;
        }

        @Override
        long done() {
            return ends.entrySet().stream().mapToLong(end -> Math.min(end.getValue(), upto.getOrDefault(end.getKey(), 0L))).sum();
        }
    }
}
