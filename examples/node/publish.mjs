// Send a gift card with Node.js: npm install, then
//   RABBITMQ_URL=amqp://… node publish.mjs 7d9f8a52-6c1e-4b7a-8f3d-2e5c4a1b9d08
import { randomUUID } from "node:crypto";
import amqp from "amqplib";

const [giftCardId] = process.argv.slice(2);
const connection = await amqp.connect(process.env.RABBITMQ_URL);
const channel = await connection.createConfirmChannel();

let returned = false;
channel.on("return", () => (returned = true)); // mandatory: no such queue

const message = {
  specversion: "1.0",
  id: randomUUID(),
  source: "node-shop",
  type: "deliver_gift_card",
  dedupekey: `gift:${giftCardId}`, // asked for twice, done once
  data: { gift_card_id: giftCardId, method: "email" },
};
channel.publish("", "scheduled-delivery", Buffer.from(JSON.stringify(message)), {
  persistent: true,
  mandatory: true,
  contentType: "application/cloudevents+json",
  BCC: ["giftcards.wiretap"], // a copy, should the queue be lost
});
await channel.waitForConfirms(); // only now the broker has it
await connection.close();

if (returned) throw new Error("no queue scheduled-delivery on this broker: start the system once");
console.log(`job ${message.id} is asked for`);
