package watchbeat.peers;

import java.util.BitSet;
import java.util.HashMap;
import java.util.Map;
import java.util.function.Function;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import watchbeat.v1.HeartbeatsOuterClass.Record;

/**
 * What the input really says, by the plainest reckoning: every report once, and beside it every copy. It takes interval reports at
 * normal speed only, as {@link Input} writes them.
 */
final class Truth {
    /** Sums of one row: of a session, or of a video in a minute. */
    static final class Sums {
        long heartbeats;
        long grossMs;
        long firstAt = Long.MAX_VALUE;
        long lastAt = Long.MIN_VALUE;
        long sessions;

        void add(long grossMs, long at) {
            heartbeats++;
            this.grossMs += grossMs;
            firstAt = Math.min(firstAt, at);
            lastAt = Math.max(lastAt, at);
        }

        boolean equals(Sums other) {
            return other != null && heartbeats == other.heartbeats && grossMs == other.grossMs && firstAt == other.firstAt
                && lastAt == other.lastAt && sessions == other.sessions;
        }
    }

    /** Of one session. */
    private static final class Session {
        final Sums once = new Sums();
        final Sums every = new Sums();
        final BitSet seqs = new BitSet();
        final Map<Long, Sums> minutesOnce = new HashMap<>();
        final Map<Long, Sums> minutesEvery = new HashMap<>();
        /** Wall time by minute, as Watchbeat has it: it lies before the report's event time. */
        final Map<Long, Sums> wall = new HashMap<>();
        boolean isLate;
    }

    static final long MINUTE_MS = 60_000;

    private final Map<String, Session> sessions = new HashMap<>();
    private final Map<Integer, Long> newest = new HashMap<>();
    long records;
    long once;

    void add(ConsumerRecord<byte[], byte[]> consumed) throws Exception {
        if (consumed.value().length == 0) {
            return; // a tick
        }
        Record record = Record.parseFrom(consumed.value());
        String key = String.join("\0", record.getSite(), record.getUserId(), record.getSessionId(), record.getVideoId());
        Session session = sessions.computeIfAbsent(key, unknown -> new Session());
        long at = record.getEventTime();
        long grossMs = record.getPositionMs() - record.getFromMs();
        long minute = at - Math.floorMod(at, MINUTE_MS);
        long newest = this.newest.merge(consumed.partition(), at, Math::max);
        session.isLate |= at < newest - MINUTE_MS;
        records++;
        session.every.add(grossMs, at);
        session.minutesEvery.computeIfAbsent(minute, unknown -> new Sums()).add(grossMs, at);
        if (session.seqs.get(record.getSeq())) {
            return;
        }
        session.seqs.set(record.getSeq());
        once++;
        session.once.add(grossMs, at);
        session.minutesOnce.computeIfAbsent(minute, unknown -> new Sums()).add(grossMs, at);
        for (long from = at - record.getPlayedMs(), to; from < at; from = to) {
            long within = from - Math.floorMod(from, MINUTE_MS);
            to = Math.min(at, within + MINUTE_MS);
            session.wall.computeIfAbsent(within, unknown -> new Sums()).grossMs += to - from;
        }
    }

    /** Rows of the sessions by their key, each report once or every copy. */
    Map<String, Sums> sessions(boolean once) {
        Map<String, Sums> rows = new HashMap<>();
        sessions.forEach((key, session) -> rows.put(key, once ? session.once : session.every));
        return rows;
    }

    /** Rows of the videos' minutes, each report once or every copy. */
    Map<String, Sums> minutes(boolean once) {
        return minutes(session -> once ? session.minutesOnce : session.minutesEvery);
    }

    /** Rows of Watchbeat's `video_minutes`: wall time (as gross) and viewers (as sessions). */
    Map<String, Sums> wall() {
        return minutes(session -> session.wall);
    }

    private Map<String, Sums> minutes(Function<Session, Map<Long, Sums>> of) {
        Map<String, Sums> rows = new HashMap<>();
        sessions.forEach((key, session) -> of.apply(session).forEach((minute, sums) -> {
            String[] parts = key.split("\0");
            Sums row = rows.computeIfAbsent(String.join("\0", parts[0], parts[3], minute.toString()), unknown -> timeless());
            row.heartbeats += sums.heartbeats;
            row.grossMs += sums.grossMs;
            row.sessions++;
        }));
        return rows;
    }

    /** Sums of a row that has no first and last event time. */
    static Sums timeless() {
        Sums sums = new Sums();
        sums.firstAt = 0;
        sums.lastAt = 0;
        return sums;
    }

    boolean hasCopies(String key) {
        Session session = sessions.get(key);
        return session != null && session.once.heartbeats != session.every.heartbeats;
    }

    boolean isLate(String key) {
        Session session = sessions.get(key);
        return session != null && session.isLate;
    }
}
