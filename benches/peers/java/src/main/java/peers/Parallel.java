package peers;

import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.ParallelConsumerOptions.CommitMode;
import io.confluent.parallelconsumer.ParallelConsumerOptions.ProcessingOrder;
import io.confluent.parallelconsumer.ParallelStreamProcessor;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** p4 through the Confluent Parallel Consumer: handlers that sleep, until the broker has the last offset committed. */
public class Parallel {
    public static void main(String[] args) throws Exception {
        var run = new Run(args);
        int count = run.number("count", 0), longest = run.number("sleep_max_us", 0);
        int concurrency = run.number("concurrency", 100);
        String group = run.text("group", "pc");
        ProcessingOrder order = switch (run.text("ordering", "unordered")) {
            case "key" -> ProcessingOrder.KEY;
            case "partition" -> ProcessingOrder.PARTITION;
            default -> ProcessingOrder.UNORDERED;
        };
        var consumer = new KafkaConsumer<>(run.consumer(group), new ByteArrayDeserializer(), new ByteArrayDeserializer());
        var options = ParallelConsumerOptions.<byte[], byte[]>builder()
            .ordering(order)
            .maxConcurrency(concurrency)
            .commitMode(CommitMode.PERIODIC_CONSUMER_ASYNCHRONOUS)
            .commitInterval(Duration.ofMillis(100))
            .consumer(consumer)
            .build();
        var processor = ParallelStreamProcessor.createEosStreamProcessor(options);
        processor.subscribe(List.of(run.topic()));

        var done = new AtomicInteger();
        var first = new AtomicLong();
        var last = new AtomicLong();
        var times = new AtomicIntegerArray(count);
        var asked = new AtomicLongArray(Math.max(1, run.number("keys", 0)));
        var slept = new AtomicLong();
        double began = Run.now(), cpu = Run.cpu();
        processor.poll(context -> {
            first.compareAndSet(0, System.nanoTime());
            if (longest > 0) {
                long since = System.nanoTime();
                long time = ThreadLocalRandom.current().nextLong(longest * 1000L + 1);
                for (long left; (left = since + time - System.nanoTime()) > 0; ) {
                    LockSupport.parkNanos(left);
                }
                byte[] key = context.key();
                int of = key == null ? 0 : Integer.parseInt(new String(key, 1, key.length - 1));
                asked.addAndGet(of, time);
                slept.addAndGet(System.nanoTime() - since);
            }
            times.incrementAndGet((int) context.offset());
            if (done.incrementAndGet() == count) {
                last.set(System.nanoTime());
            }
        });

        long committed = -1;
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", (Object) run.text("brokers", "")))) {
            var partition = new TopicPartition(run.topic(), 0);
            while (committed < count && Run.now() - began < 170) {
                Thread.sleep(10);
                if (done.get() >= count) {
                    var offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
                    committed = offsets.get(partition) == null ? -1 : offsets.get(partition).offset();
                }
            }
        }
        double wall = Run.now() - began, used = Run.cpu() - cpu;
        boolean once = true;
        for (int i = 0; i < count; i++) {
            once &= times.get(i) == 1;
        }
        double all = 0, longestKey = 0;
        for (int i = 0; i < asked.length(); i++) {
            all += asked.get(i) / 1e9;
            longestKey = Math.max(longestKey, asked.get(i) / 1e9);
        }
        double dispatch = (last.get() - first.get()) / 1e9;
        var out = new LinkedHashMap<String, Object>();
        out.put("ok", once && committed == count && done.get() == count);
        out.put("wall_s", wall);
        out.put("first_record_s", first.get() / 1e9 - began);
        out.put("dispatch_s", dispatch);
        out.put("dispatch_per_s", count / dispatch);
        out.put("work_s", slept.get() / 1e9);
        out.put("bound_s", switch (order) {
            case UNORDERED -> all / concurrency;
            case KEY -> Math.max(longestKey, all / concurrency);
            case PARTITION -> all;
        });
        out.put("cpu_s_per_1m", used * 1e6 / count);
        Run.print(out);
        Runtime.getRuntime().halt(0);
    }
}
