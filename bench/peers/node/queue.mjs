// The seed's queue, on one Redis, with the options that BullMQ needs to start at all (maxRetriesPerRequest: null).
import { Queue } from 'bullmq';
import Redis from 'ioredis';

export const NAME = 'gift-card-expiry';
export const connection = () => new Redis(process.env.BENCH_REDIS, { maxRetriesPerRequest: null });
export const queue = () =>
  new Queue(NAME, {
    connection: connection(),
    defaultJobOptions: {
      attempts: 3,
      backoff: { type: 'exponential', delay: 2000 },
      removeOnComplete: { age: 3600, count: 1000 },
      removeOnFail: { age: 86400 },
    },
  });
