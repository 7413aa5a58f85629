package bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerInterceptor;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.AppInfoParser;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.ForeachAction;
import org.apache.kafka.streams.kstream.GlobalKTable;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.Stores;

/**
 * Reads joined with in-memory GlobalKTables of entries (by plate) and policies (by source).
 *
 * <p>{@code java -jar engine.jar JOB}. Keys and values stay bytes until a plate is listed: only
 * then are the read and the entry parsed.
 */
public final class KafkaStreamsPeer {
  private static final ObjectMapper JSON = new ObjectMapper();
  static final Serde<byte[]> BYTES = Serdes.ByteArray();

  private static final AtomicLong READS = new AtomicLong();
  private static final AtomicLong SENT = new AtomicLong();
  private static final AtomicLong ACKNOWLEDGED = new AtomicLong();
  private static volatile long firstNanos;
  private static volatile long firstUnixMillis;
  private static volatile long lastNanos;

  record Found(JsonNode read, JsonNode entry) {}

  public static void main(String[] arguments) throws Exception {
    JsonNode job = parse(arguments[0].getBytes(StandardCharsets.UTF_8));
    long reads = job.get("reads").asLong();
    KafkaStreams streams = new KafkaStreams(topology(job, reads).build(), settings(job));
    streams.start();
    // A read is counted before its match is: so look twice.
    for (int settled = 0; settled < 3; Thread.sleep(20)) {
      settled = READS.get() >= reads && ACKNOWLEDGED.get() == SENT.get() ? settled + 1 : 0;
    }
    streams.close();
    ObjectNode answer = JSON.createObjectNode();
    answer.put("reads", READS.get());
    answer.put("matches", ACKNOWLEDGED.get());
    answer.put("drain_s", (lastNanos - firstNanos) / 1e9);
    answer.put("first_reads", 1);
    answer.put("first_read_unix_s", firstUnixMillis / 1e3);
    answer.putObject("versions").put("kafka-streams", AppInfoParser.getVersion());
    System.out.println(JSON.writeValueAsString(answer));
  }

  private static StreamsBuilder topology(JsonNode job, long reads) {
    StreamsBuilder builder = new StreamsBuilder();
    found(builder, job, (plate, read) -> count(reads))
        .map((plate, found) -> counted(match(found)))
        .to(job.get("matches").asText(), Produced.with(BYTES, BYTES));
    return builder;
  }

  /** The reads of listed plates whose policy lets the entry match; each read comes to `seen`. */
  static KStream<byte[], Found> found(
      StreamsBuilder builder, JsonNode job, ForeachAction<byte[], byte[]> seen) {
    GlobalKTable<byte[], byte[]> entries = table(builder, job, "entries_by_plate");
    GlobalKTable<byte[], byte[]> policies = table(builder, job, "policies");
    return builder
        .stream(job.get("detections").asText(), Consumed.with(BYTES, BYTES))
        .peek(seen)
        .join(entries, (plate, read) -> plate, (r, e) -> new Found(parse(r), parse(e)))
        .join(
            policies,
            (plate, found) -> found.read().get("source").asText().getBytes(StandardCharsets.UTF_8),
            (found, policy) -> allowed(found.entry(), parse(policy)) ? found : null)
        .filter((plate, found) -> found != null);
  }

  private static GlobalKTable<byte[], byte[]> table(
      StreamsBuilder builder, JsonNode job, String topic) {
    return builder.globalTable(
        job.get(topic).asText(),
        Consumed.with(BYTES, BYTES),
        Materialized.<byte[], byte[]>as(Stores.inMemoryKeyValueStore(topic))
            .withKeySerde(BYTES)
            .withValueSerde(BYTES)
            .withCachingDisabled());
  }

  private static Properties settings(JsonNode job) {
    Properties settings = new Properties();
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, job.get("group").asText());
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, job.get("bootstrap").asText());
    settings.put(StreamsConfig.STATE_DIR_CONFIG, "state");
    settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, Integer.getInteger("threads", 1));
    settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 20_000);
    settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
    settings.put(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, 10_000);
    settings.put(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG, 4 * 1024 * 1024);
    settings.put(ProducerConfig.COMPRESSION_TYPE_CONFIG, "lz4");
    settings.put(ProducerConfig.LINGER_MS_CONFIG, 20);
    settings.put(
        StreamsConfig.producerPrefix(ProducerConfig.INTERCEPTOR_CLASSES_CONFIG),
        Acknowledgements.class.getName());
    return settings;
  }

  private static void count(long reads) {
    long number = READS.incrementAndGet();
    if (number == 1) {
      firstUnixMillis = System.currentTimeMillis();
      firstNanos = System.nanoTime();
    } else if (number == reads) {
      lastNanos = Math.max(lastNanos, System.nanoTime());
    }
  }

  private static boolean allowed(JsonNode entry, JsonNode policy) {
    for (JsonNode rule : policy.get("rules")) {
      if (names(rule.get("agencies"), entry.get("agency"))
          && names(rule.get("purposes"), entry.get("purpose"))) {
        return true;
      }
    }
    return false;
  }

  private static boolean names(JsonNode list, JsonNode one) {
    if (list.isTextual()) {
      return list.asText().equals("*");
    }
    for (JsonNode item : list) {
      if (item.equals(one)) {
        return true;
      }
    }
    return false;
  }

  private static KeyValue<byte[], byte[]> counted(KeyValue<byte[], byte[]> match) {
    SENT.incrementAndGet();
    return match;
  }

  static KeyValue<byte[], byte[]> match(Found found) {
    ObjectNode match = JSON.createObjectNode();
    match.set("entry", found.entry());
    match.set("read", found.read());
    try {
      byte[] key = found.entry().get("entry_id").asText().getBytes(StandardCharsets.UTF_8);
      return KeyValue.pair(key, JSON.writeValueAsBytes(match));
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  static JsonNode parse(byte[] json) {
    try {
      return JSON.readTree(json);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  /** Counts the matches that the broker has acknowledged. */
  public static final class Acknowledgements implements ProducerInterceptor<byte[], byte[]> {
    @Override
    public ProducerRecord<byte[], byte[]> onSend(ProducerRecord<byte[], byte[]> record) {
      return record;
    }

    @Override
    public void onAcknowledgement(RecordMetadata metadata, Exception error) {
      if (error == null) {
        lastNanos = Math.max(lastNanos, System.nanoTime());
        ACKNOWLEDGED.incrementAndGet();
      }
    }

    @Override
    public void close() {}

    @Override
    public void configure(Map<String, ?> settings) {}
  }
}
