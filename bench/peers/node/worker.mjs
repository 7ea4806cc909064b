// node worker.mjs pg|prisma CONCURRENCY: expire cards, and note when each began and ended.
import { Worker } from 'bullmq';
import { openSync, writeSync } from 'node:fs';

import { connection, NAME } from './queue.mjs';

const [library, concurrency] = process.argv.slice(2);
const { cards } = await import(`./cards_${library}.mjs`);
const store = cards(process.env.BENCH_DATABASE, Number(concurrency));
const journal = openSync(process.env.BENCH_JOURNAL, 'a', 0o600);
const now = () => (performance.timeOrigin + performance.now()) / 1000;

const worker = new Worker(
  NAME,
  async (job) => {
    const began = now();
    await store.expire(job.data.giftCardId);
    const pair = Buffer.alloc(16);
    pair.writeDoubleLE(began, 0);
    pair.writeDoubleLE(now(), 8);
    writeSync(journal, pair);
  },
  { connection: connection(), concurrency: Number(concurrency) }, // without the seed's limit of 10 a second
);
worker.on('error', (error) => {
  console.error(error);
  process.exit(1);
});
worker.on('failed', (_job, error) => console.error(error));
