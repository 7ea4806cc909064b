"""Follow what happens to gift cards: bind a queue of your own, and acknowledge what you have understood.

RABBITMQ_URL=amqp://… python events.py
"""

import json
import os

import pika

connection = pika.BlockingConnection(pika.URLParameters(os.environ["RABBITMQ_URL"]))
channel = connection.channel()
channel.queue_declare("my-shop.gift-card-events", durable=True, arguments={"x-queue-type": "quorum"})
channel.queue_bind("my-shop.gift-card-events", exchange="giftcards.events", routing_key="delivery.*")

seen = 0  # keep it with your data: at least once means that the last ones may come again
for method, _, body in channel.consume("my-shop.gift-card-events"):
    event = json.loads(body)
    if int(event["sequence"]) > seen:
        seen = int(event["sequence"])
        print(event["subject"], event["type"], event["data"], flush=True)
    channel.basic_ack(method.delivery_tag)
