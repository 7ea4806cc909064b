// node fill.mjs < IDS: one job per line, in bulk, before the clock runs.
import { readFileSync } from 'node:fs';

import { queue } from './queue.mjs';

const expiry = queue();
const ids = readFileSync(0, 'utf8').split('\n').filter(Boolean);
for (let at = 0; at < ids.length; at += 1000) {
  await expiry.addBulk(ids.slice(at, at + 1000).map((giftCardId) => ({ name: 'expire-card', data: { giftCardId } })));
}
process.exit(0);
