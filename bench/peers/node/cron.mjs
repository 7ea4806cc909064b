// node cron.mjs pg|prisma: one tick of the seed's cron: find all that are due, then add them one by one.
import { queue } from './queue.mjs';

const { cards } = await import(`./cards_${process.argv[2]}.mjs`);
const giftCardExpiryQueue = queue();
for (const card of await cards(process.env.BENCH_DATABASE, 1).due()) {
  await giftCardExpiryQueue.add('expire-card', { giftCardId: card.id });
}
process.exit(0);
