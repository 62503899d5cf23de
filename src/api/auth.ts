import { authenticate } from '../account/apiKeys.js';
import { BillingError } from '../domain/errors.js';
import type { Actor } from '../platform/actor.js';
import type { Deps } from '../platform/deps.js';

/** The actor behind `Authorization: Bearer …`. Throws UNAUTHENTICATED; nothing is said about why a token is wrong. */
export async function actorOf(
  deps: Pick<Deps, 'db' | 'clock'>,
  { authorization, billingAccount }: { authorization: string | undefined; billingAccount: string | undefined },
): Promise<Actor> {
  const token = /^Bearer ([\w.~+/=-]+)$/i.exec(authorization?.trim() ?? '')?.[1];
  if (token === undefined) {
    throw new BillingError('UNAUTHENTICATED', 'A bearer token is expected: Authorization: Bearer bk_…');
  }
  return authenticate(deps.db.orm.em.fork(), { token, billingAccount, now: deps.clock.now() });
}
