import { createHash } from 'node:crypto';
import type { EntityManager } from '@mikro-orm/postgresql';
import { BillingError, invalid } from '../domain/errors.js';
import { deleteInBatches } from './batchedDelete.js';
import type { Clock } from './clock.js';
import { type Db, TransactionRace, type Tx } from './db.js';
import { firstIdAt, newId } from './ids.js';
import { rowsOf, sql } from './sql.js';

export interface IdempotencyClaim<Answer> {
  /** e.g. `topUp`: the same key may be used once for each operation of an account. */
  readonly operation: string;
  /** Undefined: the caller asked for no idempotency (REST only). */
  readonly key: string | undefined;
  /** What must be equal for a repeat to count as the same request; any JSON value. */
  readonly input: unknown;
  /** The ids the answer will be made of. They are known before the work, so the claim can store them with the intent. */
  readonly answer: Answer;
}

/**
 * Claims the key in the transaction that makes the intent, and stores what the answer will be made of. A repeat gets
 * those ids back and builds its answer from the rows they name: a payment still pending there means "in flight".
 * Keys are kept at least 24 h. Throws IDEMPOTENCY_MISMATCH when the key was used with another input.
 */
export async function claimKey<Answer extends object>(
  tx: Tx,
  { operation, key, input, answer }: IdempotencyClaim<Answer>,
): Promise<{ replayed: boolean; answer: Answer }> {
  if (key === undefined) return { replayed: false, answer };
  checkKey(key);
  const inputHash = hashOf(input);
  const [claimed] = await rowsOf(
    tx.em,
    sql<{ id: string }>`
      insert into idempotency_key (account_id, id, operation, key, input_hash, answer, created_at)
      values (${tx.accountId}, ${newId()}, ${operation}, ${key}, ${inputHash}, ${JSON.stringify(answer)}, ${tx.now})
      on conflict (account_id, operation, key) do nothing returning id`,
  );
  if (claimed) return { replayed: false, answer };
  const stored = await storedAnswer<Answer>(tx.em, { accountId: tx.accountId, operation, key, input });
  if (!stored) throw new TransactionRace(`the key of ${operation} was there, and has just been forgotten for its age`);
  return { replayed: true, answer: stored };
}

/**
 * The answer stored under a key, or undefined. For use cases that would do something before they can claim (attach a card,
 * resolve a name): a repeat must not do it again. Throws IDEMPOTENCY_MISMATCH as `claimKey` does.
 */
export async function storedAnswer<Answer extends object>(
  em: EntityManager,
  {
    accountId,
    operation,
    key,
    input,
  }: { accountId: string } & Pick<IdempotencyClaim<Answer>, 'operation' | 'key' | 'input'>,
): Promise<Answer | undefined> {
  if (key === undefined) return undefined;
  checkKey(key);
  const [stored] = await rowsOf(
    em,
    sql<{ input_hash: string; answer: Answer }>`
      select input_hash, answer from idempotency_key
      where account_id = ${accountId} and operation = ${operation} and key = ${key}`,
  );
  if (stored && stored.input_hash !== hashOf(input)) {
    throw new BillingError(
      'IDEMPOTENCY_MISMATCH',
      `The idempotency key '${key.slice(0, 80)}' was used for ${operation} with another input`,
      { field: ['idempotencyKey'] },
    );
  }
  return stored?.answer;
}

const keptMs = 24 * 3_600_000;

/**
 * Sweep: forgets keys that are older than the 24 h they are kept at least, a batch a statement. The id tells a key's age where the account
 * lives by a test clock, which shows any time.
 */
export async function pruneKeys({ db, clock }: { db: Pick<Db, 'orm'>; clock: Clock }): Promise<number> {
  const before = new Date(clock.now().getTime() - keptMs);
  return deleteInBatches(async (limit) => {
    const deleted = await rowsOf(
      db.orm.em.fork(),
      sql`
        delete from idempotency_key k using (
          select account_id, id from idempotency_key
          where created_at < ${before} and id < ${firstIdAt(before)}::uuid order by created_at limit ${limit}
        ) old where k.account_id = old.account_id and k.id = old.id returning 1`,
    );
    return deleted.length;
  });
}

function checkKey(key: string): void {
  if (key.length === 0 || key.length > 255) {
    throw invalid(`An idempotency key has 1 to 255 characters, found ${key.length}`, 'idempotencyKey');
  }
}

/** The same for equal values: keys in any order, bigints exact, absent and undefined are one. */
export const hashOf = (input: unknown): string => createHash('sha256').update(canonicalJson(input)).digest('hex');

/** JSON with sorted keys and exact bigints, so that equal inputs are equal texts. Absent and undefined are one. */
function canonicalJson(value: unknown): string {
  return (
    JSON.stringify(value, (_key, part: unknown) => {
      if (typeof part === 'bigint') return `${part}n`;
      if (part === null || typeof part !== 'object' || Array.isArray(part)) return part;
      return Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)));
    }) ?? 'null'
  );
}

export const inFlight = (): BillingError =>
  new BillingError('IDEMPOTENCY_IN_FLIGHT', 'The first request with this idempotency key is still being worked on', {
    field: ['idempotencyKey'],
    retryable: true,
    retryAfterSeconds: 1,
  });
