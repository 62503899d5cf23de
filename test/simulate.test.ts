import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { runCli } from '../src/cliProgram.js';
import { sql } from '../src/platform/sql.js';
import { simulate } from '../src/simulate.js';
import { parseScenario } from '../src/simulateScenario.js';
import { startWorld, type World } from './support/world.js';

let world: World;
let folder: string;
beforeAll(async () => {
  world = await startWorld({ worker: false });
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'billing-simulate-'));
});
afterAll(async () => {
  fs.rmSync(folder, { recursive: true });
  await world.stop();
});

const scenario = (steps: string): string => `name: A test
arithmetic: none
catalog:
  metrics:
    - { code: storage, name: Storage, unit: gb, aggregation: latest }
  plans:
    - code: basic
      name: Basic
      price: 30.00
      currency: USD
      interval: month
      features: { storage_gb: 10 }
start: 2026-04-01T00:00:00Z
steps:
${steps}`;
const run = async (steps: string) => (await simulate(world, parseScenario(scenario(steps)))).failure;

describe('what is not as expected is said with its line', () => {
  const paid = `  - card: tok_visa
  - subscribe: { plan: basic }
  - usage: [{ metric: storage, value: 2.5 }]
  - expect:
      subscription: { plan: basic, status: active }
      usage: { storage: 2.50 }
`;
  test.each([
    [
      '      invoices: [{ number: 1, total: 31 }]',
      'line 21: expect.invoices.0.total\n  - expected  31\n  + found     30.00',
    ],
    ['      invoices: []', 'line 21: expect.invoices\n  - expected  0 invoices\n  + found     1'],
    [
      '      invoices:\n        - number: 1\n          lines: [{ amount: 30, description: Basic plan }]',
      'line 23: expect.invoices.0.lines.0.description\n  - expected  Basic plan\n  + found     Basic',
    ],
    [
      '      invoices: [{ number: 1, lines: [] }]',
      'line 21: expect.invoices.0.lines\n  - expected  0 lines\n  + found     1: Basic 30.00',
    ],
    ['      wallet: { balance: 1 }', 'line 21: expect.wallet.balance\n  - expected  1\n  + found     0.00'],
    [
      '      events: [invoice.paid]',
      'line 21: expect.events\n  - expected  invoice.paid\n  + found     payment_method.added, invoice.finalized, invoice.paid, subscription.created',
    ],
    ['      error: CONFLICT', 'line 21: expect.error\n  - expected  CONFLICT\n  + found     none'],
    ['      charged: 29.99', 'line 21: expect.charged\n  - expected  29.99\n  + found     30.00'],
    [
      '  - subscribe: { plan: basic }',
      'line 21: subscribe: CONFLICT: The account already has a subscription to basic (ACTIVE): change or cancel it instead',
    ],
    [
      '  - usage: [{ metric: storage, value: 11 }]\n  - advance: period',
      expect.stringMatching(/^line 21: usage: LIMIT_EXCEEDED: /),
    ],
    ['  - subscribe: { plan: basic, coupon: HALF }', "line 21: subscribe: NOT_FOUND: No coupon with code 'HALF'"],
  ])('%s', async (steps, failure) => {
    expect(await run(`${paid}${steps}\n`)).toEqual(failure);
  });

  test('and all is well otherwise', async () => {
    expect(
      await run(`${paid}      events: [invoice.paid, subscription.created]\n      subset: true\n      ledger: sound\n`),
    ).toBeUndefined();
  });
});

describe('a file that cannot be read is refused with every mistake and its line', () => {
  test.each([
    ['  - card: tok_visa\n  - dance: {}', /^line 16: steps\.1: Unrecognized key: "dance"/],
    ['  - card: tok_visa\n    top_up: 5', /^line 15: steps\.0: expected one of card, subscribe/],
    [
      '  - at: yesterday\n    top_up: five',
      /^line 15: steps\.0\.at: expected an RFC 3339 instant.*\nline 16: steps\.0\.top_up: expected a plain decimal/,
    ],
    ['  - expect: { events: [invoice.eaten] }', /^line 15: steps\.0\.expect\.events\.0: expected the type of an event/],
  ])('%s', (steps, message) => {
    expect(() => parseScenario(scenario(`${steps}\n`))).toThrow(message);
  });

  test('the catalog by its own rules', () => {
    const wrong = scenario('  - card: tok_visa\n').replace('price: 30.00', 'price: thirty');
    expect(() => parseScenario(wrong)).toThrow(/^line 9: plans\.0\.price: expected a plain decimal/);
  });
});

describe('billing simulate', () => {
  const cli = async (...args: string[]) => {
    let [out, err] = ['', ''];
    const before = process.env.DATABASE_URL;
    process.env.DATABASE_URL = world.databaseUrl;
    try {
      const code = await runCli(['simulate', ...args], {
        stdin: (async function* () {})(),
        stdout: { write: (text) => (out += text) },
        stderr: { write: (text) => (err += text) },
      });
      return { code, out, err };
    } finally {
      if (before === undefined) delete process.env.DATABASE_URL;
      else process.env.DATABASE_URL = before;
    }
  };
  const file = (name: string, steps: string): string => {
    const at = path.join(folder, name);
    fs.writeFileSync(at, scenario(steps));
    return at;
  };
  const counts = async () => {
    const [row] = await world.rows(
      sql`select (select count(*) from account) as accounts, (select count(*) from plan) as plans, (select count(*) from metric) as metrics,
            (select count(*) from ledger_posting) as postings, (select count(*) from event) as events, (select count(*) from sandbox.charge) as charges`,
    );
    return row;
  };

  test('prints what happened and the invoices, and leaves nothing behind', async () => {
    const before = await counts();
    const good = file('good.yaml', '  - card: tok_visa\n  - subscribe: { plan: basic }\n  - advance: period\n');
    const { code, out, err } = await cli(good);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(/2026-05-01T00:00:00\.000Z {2}subscription\.renewed +active {2}basic\n/);
    expect(out).toMatch(
      /000002 +PAID +2026-05-01T00:00:00\.000Z +30\.00 +0\.00 +0\.00 +30\.00 +0\.00 +0\.00 +30\.00 +0\.00\n +Basic +1 +30\.00\n/,
    );
    expect(out).toContain('All as expected.');
    expect(await counts()).toEqual(before);
  });

  test('--json is one document; --keep leaves the account to look at', async () => {
    const good = file('keep.yaml', '  - card: tok_visa\n  - subscribe: { plan: basic }\n');
    const { code, out } = await cli(good, '--json', '--keep');
    const document = JSON.parse(out);
    expect({ code, passed: document.passed, failure: document.failure }).toEqual({
      code: 0,
      passed: true,
      failure: null,
    });
    expect(document.invoices).toHaveLength(1);
    const accounts = await world.rows(sql<{ name: string }>`select name from account where name = 'A test'`);
    expect(accounts.length).toBeGreaterThan(0);
    expect(document.account).toMatch(/^acct_/);
  });

  test('exits 1 with the place of the first difference', async () => {
    const bad = file('bad.yaml', '  - card: tok_visa\n  - expect: { charged: 1 }\n');
    const { code, err } = await cli(bad);
    expect({ code, err }).toEqual({
      code: 1,
      err: `${bad}: line 16: expect.charged\n  - expected  1\n  + found     0.00\n`,
    });
  });
});
