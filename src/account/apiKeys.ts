import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { EntityManager } from '@mikro-orm/postgresql';
import { BillingError, notFound } from '../domain/errors.js';
import { type Actor, parseScope } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { newId, publicId, uuidOf } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { Account, ApiKey } from './account.entity.js';

/** The account of operators' keys, which belong to none. */
export const operatorAccountId = '00000000-0000-0000-0000-000000000000';

const tokenPrefix = 'bk_';
const secretBytes = 24;

export interface CreateKeyInput {
  /** Undefined: an operator's key, which names an account per request. */
  accountId: string | undefined;
  scopes: readonly string[];
  name?: string | undefined;
  expiresInMs?: number | undefined;
}

/** Makes an API key. The token is shown in this answer and never again: only a hash of its secret is kept. */
export async function createKey(
  deps: Pick<Deps, 'db' | 'clock'>,
  input: CreateKeyInput,
): Promise<{ key: ApiKey; token: string }> {
  const accountId = input.accountId ?? operatorAccountId;
  const scopes = input.scopes.map(parseScope);
  const id = newId();
  const secret = randomBytes(secretBytes);
  return transact(deps, accountId, async ({ em, now }) => {
    if (input.accountId !== undefined && !(await em.findOne(Account, { id: input.accountId }))) {
      throw notFound('account', publicId('account', input.accountId), 'account');
    }
    const key = em.create(ApiKey, {
      accountId,
      id,
      name: input.name ?? '',
      secretHash: hashOf(secret),
      scopes,
      createdAt: now,
      expiresAt: input.expiresInMs === undefined ? null : new Date(now.getTime() + input.expiresInMs),
    });
    await em.persist(key).flush();
    return { key, token: tokenOf({ accountId, id, secret }) };
  });
}

/** Makes a key with a secret the caller derives, unless it is there; returns its token. For the demo's fixed accounts. */
export async function ensureKey(
  deps: Pick<Deps, 'db' | 'clock'>,
  { accountId, id, secret, name }: { accountId: string; id: string; secret: Buffer; name: string },
): Promise<string> {
  await transact(deps, accountId, async ({ em, now }) => {
    const key = { accountId, id, name, secretHash: hashOf(secret), scopes: ['*:*'], createdAt: now };
    await em.upsert(ApiKey, key, { onConflictAction: 'ignore' });
  });
  return tokenOf({ accountId, id, secret });
}

/** Under which a key that was revoked is announced; the message is its uuid. */
export const keysTopic = 'keys';

/** Ends a key at once, and with it the open sockets that use it. */
export async function revokeKey(
  deps: Pick<Deps, 'db' | 'clock' | 'pubsub'>,
  { keyId }: { keyId: string },
): Promise<void> {
  const id = uuidOf('apiKey', keyId);
  const [key] = id === undefined ? [] : await deps.db.orm.em.fork().find(ApiKey, { id });
  if (!key) throw notFound('API key', keyId, 'id');
  await transact(deps, key.accountId, async ({ em, now }) => {
    await em.nativeUpdate(ApiKey, { accountId: key.accountId, id: key.id, revokedAt: null }, { revokedAt: now });
  });
  deps.pubsub.publish(keysTopic, id!);
}

/**
 * The actor behind a bearer token. Throws UNAUTHENTICATED, with one message for every way a token can be wrong.
 * `billingAccount` is the account an operator's token names (`acct_…`); other tokens carry theirs.
 */
export async function authenticate(
  em: EntityManager,
  { token, billingAccount, now }: { token: string; billingAccount: string | undefined; now: Date },
): Promise<Actor> {
  const parts = partsOf(token);
  const key =
    parts && (await em.findOne(ApiKey, { accountId: parts.accountId, id: parts.id }, { disableIdentityMap: true }));
  const secretHash = hashOf(parts?.secret ?? Buffer.alloc(secretBytes));
  const matches = timingSafeEqual(Buffer.from(secretHash), Buffer.from(key?.secretHash ?? hashOf(Buffer.alloc(0))));
  if (!key || !matches || key.revokedAt || (key.expiresAt && key.expiresAt <= now)) {
    throw new BillingError('UNAUTHENTICATED', 'The bearer token is unknown, expired or revoked');
  }
  const operator = key.accountId === operatorAccountId;
  return {
    accountId: operator ? await namedAccount(em, billingAccount) : key.accountId,
    scopes: key.scopes,
    keyId: key.id,
    operator,
    expiresAt: key.expiresAt ?? undefined,
  };
}

async function namedAccount(em: EntityManager, billingAccount: string | undefined): Promise<string> {
  if (billingAccount === undefined) return operatorAccountId;
  const id = uuidOf('account', billingAccount);
  if (id === undefined || !(await em.findOne(Account, { id }, { disableIdentityMap: true }))) {
    throw notFound('account', billingAccount, 'billingAccount');
  }
  return id;
}

/** Which of these keys may still be used? For sockets, which outlive the check at their beginning. */
export async function liveKeys(
  em: EntityManager,
  { keys, now }: { keys: readonly { accountId: string; id: string }[]; now: Date },
): Promise<ReadonlySet<string>> {
  const rows = await rowsOf(
    em,
    sql<{ id: string }>`
      select key.id from api_key key
      join unnest(${keys.map((k) => k.accountId)}::uuid[], ${keys.map((k) => k.id)}::uuid[]) as asked (account_id, id)
        on key.account_id = asked.account_id and key.id = asked.id
      where key.revoked_at is null and (key.expires_at is null or key.expires_at > ${now})`,
  );
  return new Set(rows.map((row) => row.id));
}

/** The key's account for `liveKeys`: an operator's key lives under the operators' account. */
export const keyAccount = (actor: Actor): string => (actor.operator ? operatorAccountId : actor.accountId);

const hashOf = (secret: Buffer): string => createHash('sha256').update(secret).digest('hex');
const uuidBytes = (uuid: string): Buffer => Buffer.from(uuid.replaceAll('-', ''), 'hex');
const uuidFrom = (bytes: Buffer): string =>
  bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');

const tokenOf = ({ accountId, id, secret }: { accountId: string; id: string; secret: Buffer }): string =>
  tokenPrefix + Buffer.concat([uuidBytes(accountId), uuidBytes(id), secret]).toString('base64url');

function partsOf(token: string): { accountId: string; id: string; secret: Buffer } | undefined {
  if (!token.startsWith(tokenPrefix)) return undefined;
  const bytes = Buffer.from(token.slice(tokenPrefix.length), 'base64url');
  if (bytes.length !== 32 + secretBytes) return undefined;
  return {
    accountId: uuidFrom(bytes.subarray(0, 16)),
    id: uuidFrom(bytes.subarray(16, 32)),
    secret: bytes.subarray(32),
  };
}
