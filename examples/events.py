"""Follow what happens to gift cards: bind a queue of your own, and acknowledge what you have understood.

RABBITMQ_URL=amqp://… python events.py
"""

import json
import os

import pika

QUEUE = "my-shop.gift-card-events"
connection = pika.BlockingConnection(pika.URLParameters(os.environ["RABBITMQ_URL"]))
channel = connection.channel()
channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
channel.queue_bind(QUEUE, exchange="giftcards.events", routing_key="#")  # all, since they are counted together

seen: dict[str, int] = {}  # by card; keep it with your data, in the transaction of what an event makes you do
for method, _, body in channel.consume(QUEUE):
    event = json.loads(body)
    card, number = event["subject"], event["subjectsequence"]
    last = seen.setdefault(card, number - 1)
    if number == last + 1:
        print(card, number, event["type"], event["data"], flush=True)
        seen[card] = number
    elif number > last + 1:  # leave it: 'console replay' brings it again, after what is missing
        print(card, f"lacks {last + 1} to {number - 1}", flush=True)
    channel.basic_ack(method.delivery_tag)  # a lower number is one that came before: at least once
