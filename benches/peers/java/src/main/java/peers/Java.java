package peers;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.Callback;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Kafka's own clients. Figures are those of a warm process, as a service is: p1 and p2 print their third pass, p3 drops
 * what is sent in the first seconds.
 */
public class Java {
    private static final int PASSES = 3;
    private static final int WARM_SECONDS = 5;
    private static final long PING = -1;

    public static void main(String[] args) throws Exception {
        var run = new Run(args);
        switch (args[0]) {
            case "p1" -> produce(run);
            case "p2" -> consume(run);
            case "p3" -> latency(run);
            case "p7" -> idle(run);
            default -> throw new IllegalArgumentException(args[0]);
        }
        Runtime.getRuntime().halt(0);
    }

    private static Map<String, Object> throughput(Run run, long done, long bytes, double wall, double cpu) {
        int count = run.number("count", 0);
        var out = new LinkedHashMap<String, Object>();
        out.put("ok", done == count && bytes == (long) count * run.number("size", 0));
        out.put("done", done);
        out.put("wall_s", wall);
        out.put("msgs_per_s", done / wall);
        out.put("mb_per_s", bytes / 1e6 / wall);
        out.put("cpu_s_per_1m", cpu * 1e6 / done);
        return out;
    }

    private static void produce(Run run) throws Exception {
        byte[][] pool = Run.payloads(run.number("size", 100));
        int count = run.number("count", 0), partitions = run.number("partitions", 4);
        for (int pass = 1; pass <= PASSES; pass++) {
            var acknowledged = new AtomicLong();
            Callback callback = (where, error) -> {
                if (error == null) {
                    acknowledged.incrementAndGet();
                }
            };
            try (var producer = new KafkaProducer<>(run.producer(), new ByteArraySerializer(), new ByteArraySerializer())) {
                producer.partitionsFor(run.topic());
                double began = Run.now(), cpu = Run.cpu();
                long bytes = 0;
                for (int i = 0; i < count; i++) {
                    byte[] value = pool[i & 4095];
                    bytes += value.length;
                    producer.send(new ProducerRecord<>(run.topic(), i % partitions, null, value), callback);
                }
                producer.flush();
                double wall = Run.now() - began, used = Run.cpu() - cpu;
                if (acknowledged.get() != count) {
                    throw new IllegalStateException("acknowledged " + acknowledged + " of " + count);
                }
                if (pass == PASSES) {
                    var out = throughput(run, acknowledged.get(), bytes, wall, used);
                    out.put("passes", PASSES);
                    Run.print(out);
                }
            }
        }
    }

    private static KafkaConsumer<byte[], byte[]> consumer(Run run, String group) {
        return new KafkaConsumer<>(run.consumer(group), new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static void consume(Run run) {
        int count = run.number("count", 0);
        for (int pass = 1; pass <= PASSES; pass++) {
            double began = Run.now(), cpu = Run.cpu(), first = 0;
            long done = 0, bytes = 0;
            try (var consumer = consumer(run, run.text("group", "java") + "-" + pass)) {
                consumer.subscribe(List.of(run.topic()));
                while (done < count) {
                    var records = consumer.poll(Duration.ofMillis(500));
                    if (done == 0 && !records.isEmpty()) {
                        first = Run.now() - began;
                    }
                    for (var record : records) {
                        bytes += record.value().length;
                    }
                    done += records.count();
                }
                double all = Run.now() - began;
                if (pass == PASSES) {
                    var out = throughput(run, done, bytes, all - first, Run.cpu() - cpu);
                    out.put("first_record_s", first);
                    out.put("total_s", all);
                    Run.print(out);
                }
            }
        }
    }

    private static byte[] stamped(int size, long number, long base) {
        var value = new byte[size];
        ByteBuffer.wrap(value).putLong(number).putLong(System.nanoTime() - base);
        return value;
    }

    private static void latency(Run run) throws Exception {
        int rate = run.number("rate", 1000), size = run.number("size", 100);
        int skipped = rate * WARM_SECONDS, count = rate * (run.number("secs", 6) - 2) + skipped;
        long gap = 1_000_000_000L / rate, base = System.nanoTime();
        var producer = new KafkaProducer<>(run.producer(), new ByteArraySerializer(), new ByteArraySerializer());
        var consumer = consumer(run, run.text("group", "java"));
        consumer.assign(List.of(new TopicPartition(run.topic(), 0)));
        consumer.seekToEnd(consumer.assignment());
        var up = new CountDownLatch(1);
        var took = new long[count - skipped];
        var reader = new Thread(() -> {
            for (int seen = 0; seen < count; ) {
                for (var record : consumer.poll(Duration.ofSeconds(1))) {
                    var value = ByteBuffer.wrap(record.value());
                    long number = value.getLong(), latency = System.nanoTime() - base - value.getLong();
                    if (number == PING) {
                        up.countDown();
                        continue;
                    }
                    seen++;
                    if (number >= skipped) {
                        took[(int) number - skipped] = latency;
                    }
                }
            }
        });
        reader.setDaemon(true);
        reader.start();
        do {
            producer.send(new ProducerRecord<>(run.topic(), 0, null, stamped(size, PING, base))).get();
        } while (!up.await(200, TimeUnit.MILLISECONDS));
        var acknowledged = new AtomicLong();
        double cpu = 0, began = 0;
        long start = System.nanoTime();
        for (int i = 0; i < count; i++) {
            for (long left; (left = start + gap * i - System.nanoTime()) > 0; ) {
                LockSupport.parkNanos(left);
            }
            if (i == skipped) {
                cpu = Run.cpu();
                began = Run.now();
            }
            producer.send(new ProducerRecord<>(run.topic(), 0, null, stamped(size, i, base)), (where, error) -> {
                if (error == null) {
                    acknowledged.incrementAndGet();
                }
            });
        }
        producer.flush();
        reader.join(30_000);
        double used = Run.cpu() - cpu, wall = Run.now() - began;
        Arrays.sort(took);
        var out = new LinkedHashMap<String, Object>();
        out.put("ok", acknowledged.get() == count && !reader.isAlive() && took[0] > 0);
        out.put("wall_s", wall);
        out.put("cpu_s_per_1m", used * 1e6 / took.length);
        out.put("p50_us", quantile(took, 0.5));
        out.put("p95_us", quantile(took, 0.95));
        out.put("p99_us", quantile(took, 0.99));
        out.put("max_us", quantile(took, 1));
        Run.print(out);
    }

    private static double quantile(long[] sorted, double part) {
        return sorted[(int) Math.round((sorted.length - 1) * part)] / 1e3;
    }

    private static void idle(Run run) {
        var consumer = consumer(run, run.text("group", "java"));
        consumer.subscribe(List.of(run.topic()));
        boolean told = false;
        while (true) {
            consumer.poll(Duration.ofMillis(500));
            if (!told && consumer.assignment().size() >= run.number("partitions", 1)) {
                told = true;
                Run.print(Map.of("ready", true));
            }
        }
    }
}
