// Send a gift card with Java 17 and the RabbitMQ client (Debian: librabbitmq-client-java):
//   RABBITMQ_URL=amqp://… java -cp amqp-client.jar:slf4j-api.jar Publish.java 7d9f8a52-6c1e-4b7a-8f3d-2e5c4a1b9d08
import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.ConnectionFactory;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicBoolean;

class Publish {
  public static void main(String[] args) throws Exception {
    var factory = new ConnectionFactory();
    factory.setUri(System.getenv("RABBITMQ_URL"));
    try (var connection = factory.newConnection(); var channel = connection.createChannel()) {
      channel.confirmSelect();
      var returned = new AtomicBoolean(); // mandatory: no such queue
      channel.addReturnListener((code, text, exchange, key, properties, body) -> returned.set(true));

      var id = UUID.randomUUID();
      var message = """
          {"specversion": "1.0", "id": "%s", "source": "java-shop", "type": "deliver_gift_card",
           "dedupekey": "gift:%s", "data": {"gift_card_id": "%2$s", "method": "email"}}
          """.formatted(id, args[0]); // the key: asked for twice, done once
      var properties = new AMQP.BasicProperties.Builder()
          .contentType("application/cloudevents+json").deliveryMode(2)
          .headers(Map.of("BCC", List.of("giftcards.wiretap"))).build(); // a copy, should the queue be lost
      channel.basicPublish("", "scheduled-delivery", true, properties, message.getBytes(StandardCharsets.UTF_8));
      channel.waitForConfirmsOrDie(10_000); // only now the broker has it

      if (returned.get()) throw new Exception("no queue scheduled-delivery on this broker: start the system once");
      System.out.println("job " + id + " is asked for");
    }
  }
}
