-- What Prisma's own migration makes of schema.prisma.
CREATE TYPE "GiftCardStatus" AS ENUM ('ACTIVE', 'EXPIRED');
CREATE TYPE "TransactionType" AS ENUM ('EXPIRY');
CREATE TABLE "GiftCard" (
    id uuid PRIMARY KEY,
    status "GiftCardStatus" NOT NULL,
    balance decimal(19, 4) NOT NULL,
    "expiryDate" timestamptz NOT NULL
);
CREATE TABLE "Transaction" (
    id bigserial PRIMARY KEY,
    "giftCardId" uuid NOT NULL REFERENCES "GiftCard" ON DELETE RESTRICT ON UPDATE CASCADE,
    type "TransactionType" NOT NULL,
    amount decimal(19, 4) NOT NULL,
    "balanceBefore" decimal(19, 4) NOT NULL,
    "balanceAfter" decimal(19, 4) NOT NULL,
    "createdAt" timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX "GiftCard_status_expiryDate_idx" ON "GiftCard" (status, "expiryDate");
CREATE INDEX "Transaction_giftCardId_idx" ON "Transaction" ("giftCardId");
