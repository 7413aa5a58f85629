package bench;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.FixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorContext;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.processor.assignment.assignors.StickyTaskAssignor;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * An instance of the same application until SIGTERM, which suppresses repeats as well.
 *
 * <p>{@code java -cp engine.jar bench.KafkaStreamsMember JOB DIRECTORY}. A store says when an entry
 * was last told at a camera. It lies in the directory, and a changelog topic has it too, from which
 * one other instance keeps a copy.
 */
public final class KafkaStreamsMember {
  private static final String STORE = "suppression";
  private static final int DEFAULT_SUPPRESS_S = 60;
  private static final Duration CLOSE = Duration.ofSeconds(30);

  public static void main(String[] arguments) {
    JsonNode job = KafkaStreamsPeer.parse(arguments[0].getBytes(StandardCharsets.UTF_8));
    KafkaStreams streams = new KafkaStreams(topology(job).build(), settings(job, arguments[1]));
    Runtime runtime = Runtime.getRuntime();
    streams.setStateListener(
        (state, before) -> {
          if (state == KafkaStreams.State.ERROR) {
            runtime.halt(1);
          }
        });
    // A JVM that has run its hooks ends with 143, as if it had not stopped in order.
    runtime.addShutdownHook(new Thread(() -> runtime.halt(streams.close(CLOSE) ? 0 : 1)));
    streams.start();
  }

  private static StreamsBuilder topology(JsonNode job) {
    StreamsBuilder builder = new StreamsBuilder();
    builder.addStateStore(
        Stores.keyValueStoreBuilder(
            Stores.persistentKeyValueStore(STORE), Serdes.Bytes(), Serdes.ByteArray()));
    KafkaStreamsPeer.found(builder, job, (plate, read) -> {})
        .processValues(Suppression::new, STORE)
        .map((plate, found) -> KafkaStreamsPeer.match(found))
        .to(
            job.get("matches").asText(),
            Produced.with(KafkaStreamsPeer.BYTES, KafkaStreamsPeer.BYTES));
    return builder;
  }

  private static Properties settings(JsonNode job, String directory) {
    Properties settings = new Properties();
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, job.get("group").asText());
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, job.get("bootstrap").asText());
    settings.put(StreamsConfig.STATE_DIR_CONFIG, directory);
    settings.put(StreamsConfig.NUM_STANDBY_REPLICAS_CONFIG, 1);
    // The default one moves all tasks when one instance joins, if states are as small as these.
    settings.put(StreamsConfig.TASK_ASSIGNOR_CLASS_CONFIG, StickyTaskAssignor.class.getName());
    settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 1_000);
    settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
    settings.put(ProducerConfig.LINGER_MS_CONFIG, 1);
    // As the worker's.
    onGroup(settings, ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG, 15_000);
    onGroup(settings, ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG, 300);
    onGroup(settings, ConsumerConfig.FETCH_MAX_WAIT_MS_CONFIG, 100);
    // Otherwise an instance that stops in order leaves its group only when its session times out.
    onGroup(settings, "internal.leave.group.on.close", true);
    return settings;
  }

  private static void onGroup(Properties settings, String name, Object value) {
    settings.put(StreamsConfig.mainConsumerPrefix(name), value);
  }

  /** Lets a match pass if its entry was not told at its camera within the entry's time. */
  private static final class Suppression
      implements FixedKeyProcessor<byte[], KafkaStreamsPeer.Found, KafkaStreamsPeer.Found> {
    private FixedKeyProcessorContext<byte[], KafkaStreamsPeer.Found> context;
    private KeyValueStore<Bytes, byte[]> toldMillis;

    @Override
    public void init(FixedKeyProcessorContext<byte[], KafkaStreamsPeer.Found> context) {
      this.context = context;
      toldMillis = context.getStateStore(STORE);
    }

    @Override
    public void process(FixedKeyRecord<byte[], KafkaStreamsPeer.Found> record) {
      KafkaStreamsPeer.Found found = record.value();
      long suppress = found.entry().path("suppress_s").asLong(DEFAULT_SUPPRESS_S) * 1000;
      if (suppress > 0) {
        Bytes key = key(found);
        byte[] told = toldMillis.get(key);
        if (told != null && record.timestamp() - ByteBuffer.wrap(told).getLong() < suppress) {
          return;
        }
        toldMillis.put(key, ByteBuffer.allocate(Long.BYTES).putLong(record.timestamp()).array());
      }
      context.forward(record);
    }

    private static Bytes key(KafkaStreamsPeer.Found found) {
      String text =
          String.join(
              "\0",
              found.entry().get("entry_id").asText(),
              found.read().get("source").asText(),
              found.read().get("camera").asText());
      return Bytes.wrap(text.getBytes(StandardCharsets.UTF_8));
    }
  }
}
