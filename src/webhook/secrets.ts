import { createHash } from 'node:crypto';
import { BillingError } from '../domain/errors.js';
import type { FormerSecret, WebhookEndpoint } from './webhook.entity.js';

/** For how long a secret is still used beside the one that replaced it. */
const overlapMs = 24 * 3_600_000;
/** Valid at once, with the newest: each is a signature in the header of every delivery. */
const maxValid = 5;

type Secrets = Pick<WebhookEndpoint, 'secret' | 'formerSecrets'>;

const stillValid = (former: readonly FormerSecret[], now: Date): FormerSecret[] =>
  former.filter(({ validUntil }) => new Date(validUntil) > now);

/** The secrets to sign with, newest first. */
export const validSecrets = ({ secret, formerSecrets }: Secrets, now: Date): string[] => [
  secret,
  ...stillValid(formerSecrets, now).map((former) => former.secret),
];

/** The secrets after `next` has taken the first place. Throws LIMIT_EXCEEDED where too many are still valid. */
export function replaceSecret(secrets: Secrets, { next, now }: { next: string; now: Date }): Secrets {
  const former = stillValid(secrets.formerSecrets, now);
  if (former.length + 2 > maxValid) {
    throw new BillingError(
      'LIMIT_EXCEEDED',
      `${maxValid} secrets of the endpoint are valid already, expected fewer: the oldest ends at ${former.at(-1)!.validUntil}`,
    );
  }
  const validUntil = new Date(now.getTime() + overlapMs).toISOString();
  return { secret: next, formerSecrets: [{ secret: secrets.secret, validUntil }, ...former] };
}

/** What tells a secret from others without giving it away: for the answers that idempotency keys store. */
export const secretMark = (secret: string): string => createHash('sha256').update(secret).digest('base64url');

/**
 * The secret that a stored answer speaks of. It outlives the answer: it was the newest when that was given, and is valid for
 * a day after another took its place.
 */
export function knownSecret({ secret, formerSecrets }: Secrets, mark: string | undefined): string {
  const all = [secret, ...formerSecrets.map((former) => former.secret)];
  return all.find((one) => secretMark(one) === mark) ?? secret;
}
