package peers;

import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.springframework.kafka.core.DefaultKafkaConsumerFactory;
import org.springframework.kafka.core.DefaultKafkaProducerFactory;
import org.springframework.kafka.core.KafkaTemplate;
import org.springframework.kafka.listener.ContainerProperties;
import org.springframework.kafka.listener.KafkaMessageListenerContainer;
import org.springframework.kafka.listener.MessageListener;
import org.springframework.kafka.requestreply.ReplyingKafkaTemplate;
import org.springframework.kafka.support.KafkaHeaders;

/**
 * Round trips through Spring's ReplyingKafkaTemplate and a listener that answers at once, both in this process: first one
 * after another, then a window of them at once. Arguments are key=value; prints one line of JSON.
 */
public class Spring {
    private static final int WARM_UP = 2_000;

    public static void main(String[] args) throws Exception {
        Map<String, String> given = new HashMap<>();
        for (String arg : Arrays.copyOfRange(args, 1, args.length)) {
            String[] pair = arg.split("=", 2);
            given.put(pair[0], pair[1]);
        }
        String topic = given.get("topic");
        var common = Map.<String, Object>of("bootstrap.servers", given.get("brokers"));
        var sending = new HashMap<>(common);
        sending.putAll(Map.of("acks", "all", "linger.ms", 0));
        var reading = new HashMap<>(common);
        reading.put("auto.offset.reset", "earliest");
        var producers = new DefaultKafkaProducerFactory<byte[], byte[]>(sending, new ByteArraySerializer(), new ByteArraySerializer());
        var consumers = new DefaultKafkaConsumerFactory<byte[], byte[]>(reading, new ByteArrayDeserializer(), new ByteArrayDeserializer());

        var answers = new KafkaTemplate<byte[], byte[]>(producers);
        var serving = new ContainerProperties(topic);
        serving.setGroupId(given.get("group"));
        serving.setMessageListener((MessageListener<byte[], byte[]>) asked -> {
            var to = new String(asked.headers().lastHeader(KafkaHeaders.REPLY_TOPIC).value());
            var answer = new ProducerRecord<byte[], byte[]>(to, asked.value());
            answer.headers().add(asked.headers().lastHeader(KafkaHeaders.CORRELATION_ID));
            answers.send(answer);
        });
        var server = new KafkaMessageListenerContainer<byte[], byte[]>(consumers, serving);
        server.setBeanName("server");

        var listening = new ContainerProperties(given.get("reply"));
        listening.setGroupId(given.get("group") + "-replies");
        var replies = new KafkaMessageListenerContainer<byte[], byte[]>(consumers, listening);
        replies.setBeanName("replies");
        var template = new ReplyingKafkaTemplate<byte[], byte[], byte[]>(producers, replies);
        template.setDefaultReplyTimeout(Duration.ofSeconds(30));
        template.afterPropertiesSet();
        server.start();
        template.start();
        if (!template.waitForAssignment(Duration.ofSeconds(30))) {
            throw new IllegalStateException("the replies' consumer got no partitions");
        }

        byte[] payload = new byte[Integer.parseInt(given.get("size"))];
        Arrays.fill(payload, (byte) '7');
        for (int i = 0; i < WARM_UP; i++) {
            template.sendAndReceive(new ProducerRecord<>(topic, payload)).get(30, TimeUnit.SECONDS);
        }
        long[] took = new long[Integer.parseInt(given.get("sequential"))];
        for (int i = 0; i < took.length; i++) {
            long began = System.nanoTime();
            template.sendAndReceive(new ProducerRecord<>(topic, payload)).get(30, TimeUnit.SECONDS);
            took[i] = System.nanoTime() - began;
        }
        Arrays.sort(took);

        int count = Integer.parseInt(given.get("concurrent"));
        var window = new Semaphore(Integer.parseInt(given.get("window")));
        var answered = new AtomicInteger();
        var all = new CountDownLatch(count);
        long began = System.nanoTime(), cpu = cpu();
        for (int i = 0; i < count; i++) {
            window.acquire();
            template.sendAndReceive(new ProducerRecord<>(topic, payload)).whenComplete((answer, error) -> {
                if (error == null) {
                    answered.incrementAndGet();
                }
                window.release();
                all.countDown();
            });
        }
        boolean ok = all.await(60, TimeUnit.SECONDS) && answered.get() == count;
        double wall = (System.nanoTime() - began) / 1e9;
        System.out.printf(
            Locale.ROOT,
            "{\"ok\":%b,\"p50_us\":%.1f,\"p99_us\":%.1f,\"msgs_per_s\":%.0f,\"cpu_s_per_1m\":%.3f,\"max_rss_mb\":%.1f}%n",
            ok, took[took.length / 2] / 1e3, took[took.length * 99 / 100] / 1e3, count / wall,
            (cpu() - cpu) / 1e9 * 1e6 / count, rss());
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    private static long cpu() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
    }

    private static double rss() throws Exception {
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmHWM:")) {
                return Double.parseDouble(line.replaceAll("[^0-9]", "")) / 1024;
            }
        }
        return -1;
    }
}
