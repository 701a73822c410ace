import java.io.PrintStream;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Collectors;

import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Java's consumer as a member of a mixed group: prints one JSON line for each thing that happens to it, and leaves in order
 * when its input says "stop". It commits nothing before partitions are taken from it: who does not wait for that, gives
 * their messages out twice.
 *
 * usage: java -cp 'libs/*' MixedMember.java BOOTSTRAP TOPIC GROUP CLIENT_ID ASSIGNOR
 */
public final class MixedMember implements ConsumerRebalanceListener {
    private final Map<TopicPartition, OffsetAndMetadata> handled = new HashMap<>();
    private final KafkaConsumer<byte[], byte[]> consumer;
    private final PrintStream out = new PrintStream(new java.io.FileOutputStream(java.io.FileDescriptor.out), true);
    private volatile boolean stopping;

    private MixedMember(String bootstrap, String group, String client, String assignor) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("group.id", group);
        properties.put("client.id", client);
        properties.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer." + switch (assignor) {
            case "range" -> "RangeAssignor";
            case "sticky" -> "StickyAssignor";
            case "cooperative-sticky" -> "CooperativeStickyAssignor";
            default -> throw new IllegalArgumentException(assignor);
        });
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        properties.put("session.timeout.ms", "10000");
        properties.put("heartbeat.interval.ms", "300");
        properties.put("fetch.max.wait.ms", "100");
        properties.put("key.deserializer", ByteArrayDeserializer.class.getName());
        properties.put("value.deserializer", ByteArrayDeserializer.class.getName());
        consumer = new KafkaConsumer<>(properties);
    }

    public static void main(String[] args) {
        MixedMember member = new MixedMember(args[0], args[2], args[3], args[4]);
        Thread input = new Thread(member::awaitStop);
        input.setDaemon(true);
        input.start();
        member.run(args[1]);
    }

    private void run(String topic) {
        consumer.subscribe(List.of(topic), this);
        while (!stopping) {
            for (var record : consumer.poll(Duration.ofMillis(100))) {
                out.println("{\"event\":\"message\",\"partition\":" + record.partition() + ",\"offset\":" + record.offset() + "}");
                TopicPartition partition = new TopicPartition(record.topic(), record.partition());
                handled.put(partition, new OffsetAndMetadata(record.offset() + 1));
            }
        }
        // Takes the partitions away by way of the listener, and leaves.
        consumer.close();
        out.println("{\"event\":\"left\"}");
    }

    private void awaitStop() {
        var lines = new java.util.Scanner(System.in);
        while (lines.hasNextLine() && !lines.nextLine().equals("stop")) {
        }
        stopping = true;
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        tell("assigned", partitions);
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        Map<TopicPartition, OffsetAndMetadata> last = new HashMap<>(handled);
        last.keySet().retainAll(partitions);
        if (!last.isEmpty()) {
            consumer.commitSync(last);
        }
        handled.keySet().removeAll(partitions);
        tell("revoked", partitions);
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        handled.keySet().removeAll(partitions);
        tell("lost", partitions);
    }

    private void tell(String event, Collection<TopicPartition> partitions) {
        String numbers = partitions.stream().map(p -> "" + p.partition()).collect(Collectors.joining(","));
        out.println("{\"event\":\"" + event + "\",\"partitions\":[" + numbers + "]}");
    }
}
