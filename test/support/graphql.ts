import { buildASTSchema, Kind, type OperationDefinitionNode, parse } from 'graphql';
import pg from 'pg';
import type { TestAccount, World } from './world.js';

/** Adds a card that works and subscribes; returns what the two made. */
export async function subscribed(
  world: World,
  { planCode = 'plan_professional', account }: { planCode?: string; account?: TestAccount } = {},
): Promise<TestAccount & { subscriptionId: string; paymentMethodId: string; invoiceId: string }> {
  const of = account ?? (await world.account());
  const { data } = await world.gql(
    of.token,
    `mutation($planCode: String!) {
      addPaymentMethod(input: { idempotencyKey: "card", token: "tok_visa", makeDefault: true }) { paymentMethod { id } userErrors { code message } }
      subscribe(input: { idempotencyKey: "subscribe", planCode: $planCode }) { subscription { id } invoice { id } userErrors { code message } }
    }`,
    { planCode },
  );
  expect([data.addPaymentMethod.userErrors, data.subscribe.userErrors]).toEqual([[], []]);
  return {
    ...of,
    subscriptionId: data.subscribe.subscription.id,
    paymentMethodId: data.addPaymentMethod.paymentMethod.id,
    invoiceId: data.subscribe.invoice.id,
  };
}

/** The fields an operation asks of its root type. */
export const rootFieldsOf = (query: string): string[] =>
  parse(query)
    .definitions.filter(
      (definition): definition is OperationDefinitionNode => definition.kind === Kind.OPERATION_DEFINITION,
    )
    .flatMap(({ selectionSet }) =>
      selectionSet.selections.map((field) => (field.kind === Kind.FIELD ? field.name.value : '')),
    );

/** The root fields of a schema given as text, by root type. */
export function rootFieldsOfSchema(text: string): Record<'Query' | 'Mutation' | 'Subscription', string[]> {
  const schema = buildASTSchema(parse(text));
  const names = (type: ReturnType<typeof schema.getQueryType>) => Object.keys(type?.getFields() ?? {}).sort();
  return {
    Query: names(schema.getQueryType()),
    Mutation: names(schema.getMutationType()),
    Subscription: names(schema.getSubscriptionType()),
  };
}

const [minRuns, maxRuns] = [3, 8];

/**
 * How many SQL statements go to a world's database while `work` runs (another one in this process has sweeps of its own): the
 * least of three to eight runs, once it has come twice, because what happens by itself (relay, pump, key checks) adds some now and then.
 * Hints to other processes don't count: they are gathered, and sent when nobody waits for them.
 */
export async function countStatements(
  { databaseUrl }: { databaseUrl: string },
  work: () => Promise<unknown>,
): Promise<number> {
  const database = new URL(databaseUrl).pathname.slice(1);
  const { query } = pg.Client.prototype;
  const counts: number[] = [];
  const least = (): number => Math.min(...counts);
  const isSure = (): boolean => counts.length >= minRuns && counts.filter((count) => count === least()).length > 1;
  while (counts.length < maxRuns && !isSure()) {
    let count = 0;
    pg.Client.prototype.query = function (this: pg.Client, ...args: never[]) {
      if (this.database === database && !isHint(args[0])) count++;
      return (query as (...args: never[]) => never).apply(this, args);
    } as typeof query;
    try {
      await work();
    } finally {
      pg.Client.prototype.query = query;
    }
    counts.push(count);
  }
  return least();
}

const isHint = (query: string | { text?: string } | undefined): boolean =>
  (typeof query === 'string' ? query : query?.text)?.includes('pg_notify') ?? false;
