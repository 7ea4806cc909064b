// The seed's worker as it stands in seed.txt: findUnique, update, create.
import { PrismaPg } from '@prisma/adapter-pg';
import client from '@prisma/client';

const { Prisma, PrismaClient } = client;

export function cards(url, connections) {
  const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: url, max: connections }) });
  return {
    async expire(giftCardId) {
      const giftCard = await prisma.giftCard.findUnique({ where: { id: giftCardId } });
      if (!giftCard || giftCard.status !== 'ACTIVE') return;
      if (giftCard.expiryDate < new Date()) {
        await prisma.giftCard.update({
          where: { id: giftCardId },
          data: { status: 'EXPIRED', balance: new Prisma.Decimal(0) },
        });
        await prisma.transaction.create({
          data: {
            giftCardId,
            type: 'EXPIRY',
            amount: giftCard.balance,
            balanceBefore: giftCard.balance,
            balanceAfter: new Prisma.Decimal(0),
          },
        });
      }
    },
    async due() {
      return prisma.giftCard.findMany({ where: { status: 'ACTIVE', expiryDate: { lt: new Date() } } });
    },
  };
}
