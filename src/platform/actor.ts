import { BillingError } from '../domain/errors.js';

export const resources = [
  'subscriptions',
  'payment_methods',
  'invoices',
  'usage',
  'wallet',
  'events',
  'webhooks',
] as const;
export type Resource = (typeof resources)[number];
/** Who may record usage, say from a browser, may not yet take it back: correcting is a scope of its own. */
export type Scope = `${Resource}:${'read' | 'write'}` | 'usage:correct';

/** Who acts, on which account. Every use case takes one and checks it first. */
export interface Actor {
  readonly accountId: string;
  readonly scopes: readonly string[];
  /** The API key; undefined for the product itself (sweeps, reactions, command line). */
  readonly keyId: string | undefined;
  /** An operator's key belongs to no account: it names one per request. */
  readonly operator: boolean;
  readonly expiresAt: Date | undefined;
}

export const systemActor = (accountId: string): Actor => ({
  accountId,
  scopes: ['*:*'],
  keyId: undefined,
  operator: true,
  expiresAt: undefined,
});

const scopePattern = new RegExp(`^((\\*|${resources.join('|')}):(\\*|read|write)|usage:correct)$`);

/** `usage:write`, `usage:correct`, `*:read`, `wallet:*`, `*:*`; the short form `*` is `*:*`. */
export function parseScope(text: string): string {
  const scope = text === '*' ? '*:*' : text;
  if (!scopePattern.test(scope)) {
    throw new BillingError(
      'INVALID',
      `'${text.slice(0, 40)}' is not a scope: expected RESOURCE:ACTION with RESOURCE one of ${resources.join(', ')} or *, ACTION one of read, write or *, or usage:correct`,
      {
        field: ['scopes'],
      },
    );
  }
  return scope;
}

/** Whoever may write or correct may read the same: the answer to a change shows what was changed. */
function hasScope(actor: Pick<Actor, 'scopes'>, scope: Scope): boolean {
  const [resource, action] = scope.split(':');
  const actions = action === 'read' ? ['read', 'write', 'correct', '*'] : [action, '*'];
  return actions.some((one) => actor.scopes.includes(`${resource}:${one}`) || actor.scopes.includes(`*:${one}`));
}

/** Throws FORBIDDEN, naming the scope that is missing. */
export function requireScope(actor: Actor, scope: Scope): void {
  if (!hasScope(actor, scope)) throw new BillingError('FORBIDDEN', `This token lacks the scope '${scope}'`);
}

/** Throws FORBIDDEN unless an operator acts: what moves money to a customer, or changes tax or policy, is never his own. */
export function requireOperator(actor: Actor): void {
  if (!actor.operator) throw new BillingError('FORBIDDEN', "This takes an operator's token");
}
