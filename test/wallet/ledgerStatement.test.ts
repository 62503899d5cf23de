import { createKey } from '../../src/account/apiKeys.js';
import { runCli } from '../../src/cliProgram.js';
import { publicId } from '../../src/platform/ids.js';
import { rowsOf, sql } from '../../src/platform/sql.js';
import { simulate } from '../../src/simulate.js';
import { parseScenario } from '../../src/simulateScenario.js';
import { type LedgerMovement, ledgerMovements, ledgerStatement } from '../../src/wallet/ledgerStatement.js';
import { countStatements } from '../support/graphql.js';
import { startWorld, type World } from '../support/world.js';

const life = `
name: A year of renewals
arithmetic: none
account: { time_zone: Asia/Tokyo, settings: { tax_rates: [{ name: VAT, percent: 19 }] } }
catalog:
  plans:
    - { code: basic, name: Basic, price: 30.00, currency: USD, interval: month }
start: 2026-01-01T00:00:00Z
steps:
  - card: tok_visa
  - top_up: 50.00
  - subscribe: { plan: basic }
  - credit_note: { invoice: 1, lines: [{ line: 1, amount: 10.00 }] }
  - at: 2026-12-15T00:00:00Z
    expect: { subscription: { status: active } }
`;

let world: World;
let accountId: string;
let token: string;
beforeAll(async () => {
  world = await startWorld({ worker: false });
  const done = await simulate(world, parseScenario(life));
  expect(done.failure).toBeUndefined();
  accountId = done.run.accountId;
  ({ token } = await createKey(world.deps, { accountId, scopes: ['wallet:read', 'invoices:read'] }));
});
afterAll(() => world.stop());

const em = () => world.deps.db.orm.em.fork();
const period = (from: string, to: string) => ({ accountId, start: new Date(from), end: new Date(to) });
const statement = async (from: string, to: string) =>
  new Map((await ledgerStatement(em(), period(from, to))).map((line) => [line.kind, line]));

async function movementsOf(from: string, to: string, first: number): Promise<LedgerMovement[]> {
  const all: LedgerMovement[] = [];
  for (let after: string | undefined; ; ) {
    const { nodes, pageInfo } = await ledgerMovements(em(), period(from, to), { first, after });
    all.push(...nodes);
    if (!pageInfo.hasNextPage) return all;
    after = pageInfo.endCursor;
  }
}

describe('a statement', () => {
  test('opens with what was booked before, and closes with it and the movements of the period', async () => {
    const [from, to] = ['2026-03-01T00:00:00Z', '2026-06-01T00:00:00Z'];
    const lines = await statement(from, to);
    const movements = await movementsOf(from, to, 100);
    expect([...lines.keys()].sort()).toEqual([
      'customer_credit',
      'provider_clearing',
      'receivable',
      'revenue',
      'tax',
      'wallet',
    ]);
    expect(movements.length).toBeGreaterThan(4);
    for (const { kind, openingMinor, debitsMinor, creditsMinor, closingMinor } of lines.values()) {
      const [before] = await world.rows(
        sql<{ sum: string }>`select coalesce(sum(p.amount_minor), 0)::text as sum from ledger_posting p
          join ledger_transaction t on t.account_id = p.account_id and t.id = p.transaction_id
          join ledger_account a on a.account_id = p.account_id and a.id = p.ledger_account_id
          where p.account_id = ${accountId} and a.kind = ${kind} and t.created_at < ${from}::timestamptz`,
      );
      const legs = movements.flatMap(({ postings }) => postings.filter((leg) => leg.kind === kind));
      const sum = (of: (minor: bigint) => boolean) =>
        legs.reduce((all, { amountMinor }) => (of(amountMinor) ? all + amountMinor : all), 0n);
      expect({ kind, openingMinor, debitsMinor, creditsMinor }).toEqual({
        kind,
        openingMinor: BigInt(before!.sum),
        debitsMinor: -sum((minor) => minor < 0n),
        creditsMinor: sum((minor) => minor > 0n),
      });
      expect(openingMinor + creditsMinor - debitsMinor).toBe(closingMinor);
    }
    expect(lines.get('revenue')!.openingMinor).toBeGreaterThan(0n);
  });

  test('periods follow each other without a gap, from nothing to the balance there is', async () => {
    const bounds = ['2025-01-01', '2026-01-01', '2026-02-01', '2026-07-15', '2027-01-01'].map(
      (day) => `${day}T00:00:00Z`,
    );
    let last = new Map<string, bigint>();
    for (const [i, from] of bounds.slice(0, -1).entries()) {
      const lines = await statement(from, bounds[i + 1]!);
      for (const { kind, openingMinor } of lines.values()) expect(openingMinor).toBe(last.get(kind) ?? 0n);
      last = new Map([...lines.values()].map(({ kind, closingMinor }) => [kind as string, closingMinor]));
    }
    const balances = await rowsOf(
      em(),
      sql<{
        kind: string;
        balance_minor: string;
      }>`select kind, balance_minor from ledger_account where account_id = ${accountId}`,
    );
    expect(Object.fromEntries(last)).toEqual(
      Object.fromEntries(balances.map(({ kind, balance_minor }) => [kind, BigInt(balance_minor)])),
    );
  });

  test('a movement at the very start belongs to the period, one at its end does not', async () => {
    const [movement] = await movementsOf('2026-05-01T00:00:00Z', '2026-05-02T00:00:00Z', 100);
    const at = movement!.createdAt;
    const next = new Date(at.getTime() + 1).toISOString();
    expect((await movementsOf(at.toISOString(), next, 100))[0]).toEqual(movement);
    expect(await movementsOf('2026-04-15T00:00:00Z', at.toISOString(), 100)).toEqual([]);
  });

  test('is the same in pages of any size, oldest first', async () => {
    const all = await movementsOf('2026-01-01T00:00:00Z', '2027-01-01T00:00:00Z', 100);
    expect(all.map(({ type }) => type).slice(0, 3)).toEqual(['top_up', 'invoice_issued', 'wallet_payment']);
    for (const first of [1, 3])
      expect(await movementsOf('2026-01-01T00:00:00Z', '2027-01-01T00:00:00Z', first)).toEqual(all);
    const times = all.map(({ createdAt }) => createdAt.getTime());
    expect(times).toEqual([...times].sort((a, b) => a - b));
    for (const { postings } of all) expect(postings.reduce((sum, { amountMinor }) => sum + amountMinor, 0n)).toBe(0n);
  });
});

describe('through the door', () => {
  const query = `query($from: DateTime!, $to: DateTime!, $first: Int, $after: String) {
    ledgerStatement(from: $from, to: $to) {
      period { start end }
      accounts { account currency opening { amount } debits { amount } credits { amount } closing { amount } }
      movements(first: $first, after: $after) {
        nodes { id type createdAt referenceId postings { account amount { amount currency } } }
        pageInfo { hasNextPage endCursor }
      }
    }
  }`;
  const january = { from: '2026-01-01T00:00:00Z', to: '2026-02-01T00:00:00Z' };

  test('balances, movements and what they are about', async () => {
    const { data, errors } = await world.gql(token, query, { ...january, first: 2 });
    expect(errors).toBeUndefined();
    const { accounts, movements } = data.ledgerStatement;
    const amount = (text: string) => ({ amount: text });
    expect(accounts).toContainEqual({
      account: 'WALLET',
      currency: 'USD',
      opening: amount('0.00'),
      debits: amount('35.70'),
      credits: amount('50.00'),
      closing: amount('14.30'),
    });
    expect(movements.nodes).toMatchObject([
      {
        type: 'top_up',
        referenceId: expect.stringMatching(/^pay_/),
        postings: [
          { account: 'WALLET', amount: { amount: '50.00', currency: 'USD' } },
          { account: 'PROVIDER_CLEARING', amount: { amount: '-50.00' } },
        ],
      },
      { type: 'invoice_issued', referenceId: expect.stringMatching(/^inv_/) },
    ]);
    const { data: next } = await world.gql(token, query, { ...january, first: 2, after: movements.pageInfo.endCursor });
    expect(next.ledgerStatement.movements.nodes.map(({ type }: { type: string }) => type)).toEqual([
      'wallet_payment',
      'credit_note',
    ]);
    const { data: found } = await world.gql(
      token,
      'query($id: ID!) { node(id: $id) { __typename id } }',
      movements.nodes[0],
    );
    expect(found.node).toEqual({ __typename: 'LedgerMovement', id: movements.nodes[0].id });
  });

  test('SQL statements don’t grow with the page', async () => {
    const year = { from: '2026-01-01T00:00:00Z', to: '2027-01-01T00:00:00Z' };
    const [few, many] = [
      await countStatements(world, () => world.gql(token, query, { ...year, first: 1 })),
      await countStatements(world, () => world.gql(token, query, { ...year, first: 30 })),
    ];
    expect(many).toBe(few);
  });

  test.each([
    ['an empty period', { from: january.to, to: january.from, first: 1 }, /is empty: expected from before to/],
    ['a cursor of something else', { ...january, first: 1, after: 'x' }, /is not a cursor/],
    ['a page of nothing', { ...january, first: 0 }, /expected 1 to 100/],
  ])('%s is refused', async (_, variables, message) => {
    const { errors } = await world.gql(token, query, variables);
    expect(errors).toMatchObject([{ message: expect.stringMatching(message), extensions: { code: 'INVALID' } }]);
  });

  test.each([[['wallet:read']], [['invoices:read']]])('%j alone may not read the books', async (scopes) => {
    const { token: poor } = await createKey(world.deps, { accountId, scopes });
    const { errors } = await world.gql(poor, query, { ...january, first: 1 });
    expect(errors).toMatchObject([{ extensions: { code: 'FORBIDDEN' } }]);
  });
});

describe('billing ledger statement', () => {
  let before: string | undefined;
  beforeAll(() => {
    before = process.env.DATABASE_URL;
    process.env.DATABASE_URL = world.databaseUrl;
  });
  afterAll(() => {
    if (before === undefined) delete process.env.DATABASE_URL;
    else process.env.DATABASE_URL = before;
  });

  async function run(...args: string[]) {
    let [out, err] = ['', ''];
    const account = publicId('account', accountId);
    const code = await runCli(['ledger', 'statement', '--account', account, ...args], {
      stdin: (async function* () {})(),
      stdout: { write: (text) => (out += text) },
      stderr: { write: (text) => (err += text) },
    });
    return { code, out, err };
  }

  test('prints balances and every movement; a day is one of the account’s time zone', async () => {
    const { code, out } = await run('--from', '2026-01-01', '--to', '2026-02-01');
    expect(code).toBe(0);
    expect(out).toContain('from 2025-12-31T15:00:00.000Z to 2026-01-31T15:00:00.000Z');
    expect(out).toMatch(/\nwallet +USD +0\.00 +35\.70 +50\.00 +14\.30\n/);
    expect(out).toMatch(/\n2026-01-01T00:00:00\.\d{3}Z +top_up +pay_\w+ +wallet 50\.00, provider_clearing -50\.00\n/);
    const { out: json } = await run('--from', '2026-01-01', '--to', '2027-01-01T00:00:00Z', '--json');
    const { movements } = JSON.parse(json);
    expect(movements).toHaveLength((await movementsOf('2026-01-01T00:00:00Z', '2027-01-01T00:00:00Z', 100)).length);
  });

  test.each([
    ['2026-02-30', "'2026-02-30' is no time"],
    ['soon', "'soon' is no time: expected 2026-11-01 or 2026-11-01T00:00:00Z"],
    ['2027-01-01', 'is empty: expected from before to'],
  ])('--from %s is refused', async (from, message) => {
    const { code, err } = await run('--from', from, '--to', '2027-01-01');
    expect([code, err]).toEqual([1, expect.stringContaining(message)]);
  });
});
