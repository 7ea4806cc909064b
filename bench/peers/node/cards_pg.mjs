// The seed's worker with plain pg: read, update, insert, as three statements.
import pg from 'pg';

export function cards(url, connections) {
  const pool = new pg.Pool({ connectionString: url, max: connections });
  return {
    async expire(id) {
      const { rows } = await pool.query('SELECT * FROM "GiftCard" WHERE id = $1', [id]);
      const card = rows[0];
      if (!card || card.status !== 'ACTIVE' || card.expiryDate >= new Date()) return;
      await pool.query(`UPDATE "GiftCard" SET status = 'EXPIRED', balance = 0 WHERE id = $1`, [id]);
      await pool.query(
        'INSERT INTO "Transaction" ("giftCardId", type, amount, "balanceBefore", "balanceAfter")' +
          ` VALUES ($1, 'EXPIRY', $2, $2, 0)`,
        [id, card.balance],
      );
    },
    async due() {
      const { rows } = await pool.query(`SELECT * FROM "GiftCard" WHERE status = 'ACTIVE' AND "expiryDate" < now()`);
      return rows;
    },
  };
}
