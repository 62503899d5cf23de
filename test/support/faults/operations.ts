import { setTimeout as sleep } from 'node:timers/promises';
import { addPaymentMethod } from '../../../src/payment/addPaymentMethod.js';
import { publicId } from '../../../src/platform/ids.js';
import { subscribe } from '../../../src/subscription/subscribe.js';
import { freshKey } from '../billing.js';
import type { FaultAccount, FaultWorld } from './faultWorld.js';

/** What a caller was told in the end: the money has moved, or it has not. */
export interface Told {
  paid: boolean;
  code?: string | undefined;
}

/** One request that moves money, with a key, that its caller repeats until it has an answer. */
export interface Operation {
  readonly name: string;
  readonly account: FaultAccount;
  /** What the last try was answered, for whoever wonders why there is no end. */
  last?: string;
  /** One try; `undefined` when there is no final answer yet: an error, in flight, or unknown. */
  attempt(url: string): Promise<Told | undefined>;
}

/** Makes an account on which the operation can be done, once. */
export type Prepare = (world: FaultWorld) => Promise<Operation>;

// biome-ignore lint/suspicious/noExplicitAny: an answer is read as freely as a client would
type Loose = any;

const requestTimeoutMs = 30_000;

export async function ask(
  url: string,
  token: string,
  query: string,
  variables: object,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: Loose } | undefined> {
  try {
    const response = await fetch(`${url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}`, ...headers },
      body: JSON.stringify({ query, variables }),
      signal: AbortSignal.timeout(requestTimeoutMs),
    });
    return { status: response.status, body: await response.json() };
  } catch {
    return undefined; // no answer: the server is gone
  }
}

/** One answer and how long it took; `code` is that of an error, or what became of it. */
export interface Answered {
  ms: number;
  code: string;
  text: string;
}

export async function askTimed(
  url: string,
  token: string,
  query: string,
  variables: object,
  headers: Record<string, string> = {},
): Promise<Answered> {
  const startedAt = performance.now();
  const answer = await ask(url, token, query, variables, headers);
  const ms = performance.now() - startedAt;
  const text = answer ? JSON.stringify(answer).slice(0, 300) : 'none';
  const [payload] = Object.values<Loose>(answer?.body.data ?? {});
  const code = answer?.body.errors?.[0]?.extensions?.code ?? payload?.userErrors[0]?.code;
  return { ms, code: code ?? payload?.payment?.status ?? (payload ? 'DONE' : 'NO_ANSWER'), text };
}

/** Refusals that say no more than "not now". */
const notYet: ReadonlySet<string> = new Set(['UNAVAILABLE', 'IDEMPOTENCY_IN_FLIGHT', 'CONFLICT', 'INTERNAL']);

const mutation =
  (name: string, input: string, fields: string, isPaid: (payload: Loose) => boolean) =>
  (account: FaultAccount, variables: object): Operation => ({
    name,
    account,
    async attempt(url) {
      const query = `mutation($input: ${input}!) { ${name}(input: $input) { ${fields} userErrors { code declineCode } } }`;
      const answer = await ask(url, account.token, query, { input: { idempotencyKey: 'once', ...variables } });
      this.last = JSON.stringify(answer);
      if (answer?.status === 400) throw new Error(`${name} was refused as malformed: ${this.last}`);
      const payload = answer?.body.data?.[name];
      if (!payload) return undefined;
      const code: string | undefined = payload.userErrors[0]?.code;
      if (code !== undefined) return notYet.has(code) ? undefined : { paid: false, code };
      return { paid: isPaid(payload) };
    },
  });

const five = { amount: '5.00', currency: 'USD' };
const topUp = mutation('topUp', 'TopUpInput', 'payment { status }', ({ payment }) => payment.status === 'SUCCEEDED');
const subscribing = mutation(
  'subscribe',
  'SubscribeInput',
  'subscription { status }',
  ({ subscription }) => subscription.status === 'ACTIVE',
);
const changing = mutation(
  'changePlan',
  'ChangePlanInput',
  'subscription { plan { code } }',
  ({ subscription }) => subscription.plan.code === 'premium',
);
const paying = mutation(
  'payInvoice',
  'InvoiceIdInput',
  'invoice { status }',
  ({ invoice }) => invoice.status === 'PAID',
);

function restTopUp(account: FaultAccount, key = 'once'): Operation {
  return {
    name: 'REST top-up',
    account,
    async attempt(url) {
      try {
        const response = await fetch(`${url}/api/v1/billing/wallet/top-up`, {
          method: 'POST',
          headers: {
            'content-type': 'application/json',
            authorization: `Bearer ${account.token}`,
            'idempotency-key': key,
          },
          body: '{"amount": 5.00}',
          signal: AbortSignal.timeout(requestTimeoutMs),
        });
        const body: Loose = await response.json();
        this.last = `${response.status} ${JSON.stringify(body)}`;
        if (response.status === 201) return { paid: true };
        return response.status === 402 ? { paid: false, code: body.code } : undefined;
      } catch {
        this.last = 'no answer';
        return undefined;
      }
    },
  };
}

/** A top-up under a key of its own: many of them on one account. */
export const topUpWith = (account: FaultAccount, key: string, door: 'GraphQL' | 'REST'): Operation =>
  door === 'REST' ? restTopUp(account, key) : topUp(account, { idempotencyKey: key, amount: five });

/** Every path that charges a card because somebody asked, each on an account of its own. */
export const operations: Readonly<Record<string, Prepare>> = {
  topUp: async (world) => topUpWith(await world.account(), 'once', 'GraphQL'),
  restTopUp: async (world) => topUpWith(await world.account(), 'once', 'REST'),
  subscribe: async (world) => subscribing(await world.account(), { planCode: 'basic' }),
  changePlan: async (world) => {
    const account = await world.account();
    const { subscriptionId } = await subscribe(world.deps, account.actor, { planCode: 'basic' });
    return changing(account, { subscriptionId: publicId('subscription', subscriptionId), planCode: 'premium' });
  },
  payInvoice: async (world) => {
    const account = await world.account({ card: 'tok_chargeCustomerFail' });
    const { invoiceId } = await subscribe(world.deps, account.actor, { planCode: 'basic' });
    await addPaymentMethod(world.deps, account.actor, {
      idempotencyKey: freshKey(),
      type: 'card',
      token: 'tok_visa',
      makeDefault: true,
    });
    return paying(account, { invoiceId: publicId('invoice', invoiceId!) });
  },
};

/** Tries again, as a client does, until there is an answer. Throws when there is none within `withinMs`. */
export async function untilTold(url: string, operation: Operation, withinMs = 60_000): Promise<Told> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const told = await operation.attempt(url);
    if (told) return told;
    if (Date.now() > deadline)
      throw new Error(`${operation.name} has no answer after ${withinMs} ms, the last: ${operation.last}`);
    await sleep(250);
  }
}
