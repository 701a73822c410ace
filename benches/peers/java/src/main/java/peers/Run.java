package peers;

import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.Random;

/** What the runner asked for, the settings that all workloads share, and the line that is printed. */
final class Run {
    private final Map<String, String> given = new HashMap<>();

    Run(String[] args) {
        for (String arg : args) {
            String[] pair = arg.split("=", 2);
            if (pair.length == 2) {
                given.put(pair[0], pair[1]);
            }
        }
    }

    String text(String key, String otherwise) {
        return given.getOrDefault(key, otherwise);
    }

    int number(String key, int otherwise) {
        return given.containsKey(key) ? Integer.parseInt(given.get(key)) : otherwise;
    }

    String topic() {
        return given.get("topic");
    }

    Properties producer() {
        var p = new Properties();
        p.put("bootstrap.servers", given.get("brokers"));
        p.put("acks", "all");
        p.put("enable.idempotence", text("idempotent", "true"));
        p.put("linger.ms", text("linger_ms", "5"));
        p.put("batch.size", text("batch_bytes", "1000000"));
        p.put("buffer.memory", "67108864");
        p.put("compression.type", text("compression", "none"));
        return p;
    }

    Properties consumer(String group) {
        var p = new Properties();
        p.put("bootstrap.servers", given.get("brokers"));
        p.put("group.id", group);
        p.put("auto.offset.reset", "earliest");
        p.put("enable.auto.commit", "false");
        p.put("max.poll.records", "5000");
        p.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");
        return p;
    }

    /** Distinct values that look like JSON with random digits. */
    static byte[][] payloads(int size) {
        var random = new Random(42);
        var out = new byte[4096][];
        for (int i = 0; i < out.length; i++) {
            var text = new StringBuilder(String.format("{\"id\":%010d,\"items\":[", i));
            while (text.length() < size) {
                text.append(String.format(
                    "{\"sku\":\"A%06d\",\"qty\":%d,\"price\":%d.%02d},",
                    random.nextInt(1_000_000), random.nextInt(100), random.nextInt(1_000), random.nextInt(100)));
            }
            out[i] = text.substring(0, size).getBytes(StandardCharsets.US_ASCII);
        }
        return out;
    }

    static double now() {
        return System.nanoTime() / 1e9;
    }

    static double cpu() {
        var system = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        return system.getProcessCpuTime() / 1e9;
    }

    private static double rss() {
        try {
            for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
                if (line.startsWith("VmHWM:")) {
                    return Double.parseDouble(line.replaceAll("[^0-9]", "")) / 1024;
                }
            }
        } catch (java.io.IOException e) {
            System.err.println(e);
        }
        return -1;
    }

    /** Prints the line and ends the process: no teardown in the figures. */
    static void print(Map<String, Object> fields) {
        var all = new LinkedHashMap<>(fields);
        all.put("max_rss_mb", rss());
        var line = new StringBuilder("{");
        all.forEach((name, value) -> line.append(line.length() > 1 ? "," : "").append('"').append(name).append("\":")
            .append(value instanceof Double d ? String.format(Locale.ROOT, "%.4f", d) : String.valueOf(value)));
        System.out.println(line.append('}'));
        System.out.flush();
    }
}
