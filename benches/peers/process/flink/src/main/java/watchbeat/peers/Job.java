package watchbeat.peers;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;

/**
 * Runs statements of Flink SQL in one process: BROKERS INPUT_TOPIC PREFIX plain|dedup FOLDER [KEY=VALUE...]. FOLDER has
 * job.sql, whose names in braces are filled in, and settings.
 */
public final class Job {
    /** Flink's own pattern of deduplication. */
    private static final String FIRST_COPIES = "(select * from (select *, row_number() over ("
        + "partition by site, user_id, session_id, video_id, seq order by arrived) as copy from log) where copy = 1)";

    public static void main(String[] arguments) throws Exception {
        Configuration settings = new Configuration();
        for (String line : Files.readAllLines(Path.of(arguments[4], "settings"))) {
            if (!line.isBlank() && !line.startsWith("#")) {
                set(settings, line);
            }
        }
        Arrays.stream(arguments).skip(5).forEach(setting -> set(settings, setting));
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.getExecutionEnvironment(settings);
        StreamTableEnvironment tables = StreamTableEnvironment.create(environment);
        String statements = Files.readString(Path.of(arguments[4], "job.sql"), StandardCharsets.UTF_8)
            .replaceAll("(?m)^--.*$", "")
            .replace("{brokers}", arguments[0]).replace("{input}", arguments[1]).replace("{prefix}", arguments[2])
            .replace("{source}", arguments[3].equals("dedup") ? FIRST_COPIES : "log");
        for (String statement : statements.split("(?m);;$")) {
            var result = tables.executeSql(statement.strip());
            if (result.getJobClient().isPresent()) {
                result.await();
            }
        }
    }

    private static void set(Configuration settings, String line) {
        String[] setting = line.split("=", 2);
        settings.setString(setting[0].strip(), setting[1].strip());
    }
}
