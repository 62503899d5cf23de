import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { runCli } from '../src/cliProgram.js';
import { uuidOf } from '../src/platform/ids.js';
import { signatureHeaders } from '../src/webhook/signature.js';
import { subscribed, testCatalogYaml } from './support/billing.js';
import { runProgram, startProgram } from './support/program.js';
import { startWorld, type World } from './support/world.js';

let world: World;
let folder: string;
let databaseUrl: string | undefined;
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml });
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'billing-cli-'));
  databaseUrl = process.env.DATABASE_URL;
  process.env.DATABASE_URL = world.databaseUrl;
});
afterAll(async () => {
  if (databaseUrl === undefined) delete process.env.DATABASE_URL;
  else process.env.DATABASE_URL = databaseUrl;
  fs.rmSync(folder, { recursive: true });
  await world.stop();
});

async function run(args: string[], stdin = ''): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  async function* input() {
    if (stdin) yield stdin;
  }
  const code = await runCli(args, {
    stdin: input(),
    stdout: { write: (text) => (out += text) },
    stderr: { write: (text) => (err += text) },
  });
  return { code, out, err };
}

/** The one JSON document that a successful command prints. */
async function json(...args: string[]) {
  const { code, out, err } = await run([...args, '--json']);
  expect({ code, err, lines: out.split('\n').length }).toEqual({ code: 0, err: '', lines: 2 });
  return JSON.parse(out);
}

const doorStatus = async (token: string, headers = {}): Promise<number> =>
  (await world.rest(token, 'GET', '/wallet', undefined, headers)).status;

describe('accounts and keys', () => {
  test('an account is opened and listed', async () => {
    const made = await json('account', 'create', '--name', 'Acme', '--currency', 'EUR', '--time-zone', 'Europe/Berlin');
    expect(made).toMatchObject({ name: 'Acme', currency: 'EUR', timeZone: 'Europe/Berlin' });
    const { accounts } = await json('account', 'list');
    expect(accounts).toContainEqual(made);
    expect((await run(['account', 'list'])).out).toContain(made.id);
  });

  test('a key opens the door with its scopes until it is revoked', async () => {
    const { id: account } = await json('account', 'create', '--name', 'Keys');
    const all = await json('key', 'create', '--account', account);
    expect([all.scopes, all.expiresAt, await doorStatus(all.token)]).toEqual([['*:*'], null, 200]);
    const some = await json('key', 'create', '--account', account, '--scopes', 'usage:read,events:read', 'invoices:*');
    expect([some.scopes, await doorStatus(some.token)]).toEqual([['usage:read', 'events:read', 'invoices:*'], 403]);

    expect((await run(['key', 'revoke', all.id])).code).toBe(0);
    expect(await doorStatus(all.token)).toBe(401);
  });

  test('--expires-in ends a key', async () => {
    const { id: account } = await json('account', 'create', '--name', 'Short');
    const { token, expiresAt } = await json('key', 'create', '--account', account, '--expires-in', '15m');
    expect(Date.parse(expiresAt) - Date.now()).toBeGreaterThan(14 * 60_000);
    expect(Date.parse(expiresAt) - Date.now()).toBeLessThanOrEqual(15 * 60_000);
    expect(await doorStatus(token)).toBe(200);
    world.clock.advanceMs(15 * 60_000);
    expect(await doorStatus(token)).toBe(401);
    world.clock.set(new Date());
  });

  test('an operator’s key names an account per request', async () => {
    const account = await world.account();
    const { token } = await json('key', 'create', '--operator', '--name', 'ops');
    expect(await doorStatus(token, { 'billing-account': account.publicId })).toBe(200);
  });
});

test('`account update` sets how an account is billed, and says how it is', async () => {
  const { id } = await json('account', 'create', '--name', 'Settings');
  const flags = ['--grace-hours', '24', '--retry-days', '1,3', '--dunning-end', 'pause', '--tax-exempt'];
  const set = await json('account', 'update', id, ...flags, '--tax', 'VAT 19%', 'City tax 0.5% inclusive');
  expect(set).toEqual({
    id,
    gracePeriodHours: 24,
    retryAfterDays: [1, 3],
    dunningEnd: 'pause',
    taxExempt: true,
    taxRates: [
      { name: 'VAT', percent: '19', inclusive: false },
      { name: 'City tax', percent: '0.5', inclusive: true },
    ],
  });
  const { code, out } = await run([
    'account',
    'update',
    id,
    '--tax',
    'none',
    '--retry-days',
    'none',
    '--no-tax-exempt',
  ]);
  expect(code).toBe(0);
  expect(out).toMatch(/grace period +24 h\nretries after +none\ndunning end +pause\ntax exempt +no\ntax +none/);
});

test.each([
  [['account', 'update', 'acct_x', '--tax', 'VAT'], "billing: No account with id 'acct_x'"],
  [['account', 'update', 'acct_x', '--grace-hours', '73'], 'Expected a whole number from 0 to 72'],
  [['account', 'update', 'acct_x', '--retry-days', 'soon'], 'Expected days such as 1,3,5, or none'],
  [['account', 'update', 'acct_x', '--dunning-end', 'shrug'], 'Allowed choices are cancel, past_due, pause'],
  [['key', 'create'], 'billing: Expected either --account ID or --operator'],
  [['key', 'create', '--operator', '--account', 'acct_x'], 'billing: Expected either --account ID or --operator'],
  [['key', 'create', '--account', 'acct_x'], "billing: No account with id 'acct_x'"],
  [['key', 'create', '--operator', '--scopes', 'all'], "billing: 'all' is not a scope"],
  [['key', 'create', '--operator', '--scopes', ','], 'billing: --scopes names no scope'],
  [['key', 'create', '--operator', '--expires-in', '5w'], 'Expected a time such as 30s, 15m, 1h or 7d'],
  [['key', 'create', '--operator', '--expires-in', '0s'], 'Expected a time such as 30s, 15m, 1h or 7d'],
  [['key', 'revoke', 'key_x'], "billing: No API key with id 'key_x'"],
  [['account', 'create', '--name', 'x', '--currency', 'ABC'], "billing: 'ABC' is not an ISO 4217 currency code"],
  [['plan', 'publish', '/no/such.yaml'], 'billing: No such file: /no/such.yaml'],
  [['usage', 'import', '/no/such.ndjson'], 'billing: No such file: /no/such.ndjson'],
  [['event', 'list', '--account', 'acct_x', '--limit', '0'], 'Expected a whole number from 1 to 1000'],
  [['webhook', 'listen', '--port', '0', '--secret', 'x'], 'billing: --secret is not a secret'],
  [['webhook', 'listen', '--port', '0', '--fail', '130%'], 'Expected a percentage from 0% to 100%'],
  [['webhook', 'listen', '--port', '0', '--fail', '0'], 'Expected a whole number from 1 to 1000'],
  [['webhook', 'listen', '--port', '0', '--drop', 'some'], 'Expected a percentage from 0% to 100%'],
  [['webhook', 'listen', '--port', '0', '--status', '200'], 'Expected a whole number from 300 to 599'],
  [['webhook', 'listen', '--port', '0', '--delay', '2'], 'Expected a time such as 30s'],
  [['nonsense'], "unknown command 'nonsense'"],
])('%j fails with a line that says why, and nothing on stdout', async (args, message) => {
  const { code, out, err } = await run(args);
  expect({ code, out }).toEqual({ code: 1, out: '' });
  expect(err).toContain(message);
  expect(err).not.toMatch(/^\s+at /m);
});

test('a wrong environment and a database that is not there are said in plain words', async () => {
  const url = process.env.DATABASE_URL!;
  try {
    process.env.DATABASE_URL = 'nonsense';
    expect(await run(['account', 'list'])).toMatchObject({ code: 1, err: expect.stringContaining('DATABASE_URL') });
    process.env.DATABASE_URL = 'postgresql://a:b@127.0.0.1:1/c';
    const { code, err } = await run(['account', 'list']);
    expect(code).toBe(1);
    expect(err).toMatch(/^billing: The database of DATABASE_URL can't be used: .*ECONNREFUSED.*\n$/);
    expect((await run(['plan', 'example'])).code).toBe(0);
    expect((await run(['schema', 'print'])).out).toContain('type Query {');
    expect(JSON.parse((await run(['openapi'])).out)).toMatchObject({ openapi: '3.1.0' });
    expect((await run(['event', 'types'])).out).toMatch(/^\| `invoice\.paid` \| .+ \| invoice \|$/m);
  } finally {
    process.env.DATABASE_URL = url;
  }
});

describe('plans', () => {
  const yaml = (price: string) =>
    `plans:\n  - { code: cli_plan, name: Cli, price: ${price}, currency: USD, interval: month, features: { users: 7 } }\n${testCatalogYaml.replace('plans:\n', '').replace(/^ {2}- code: (?:.|\n)*|^ {2}- \{ code: (?:yearly|free|euro).*$/gm, '')}`;
  const stored = async () =>
    (await json('plan', 'list')).plans.find((plan: { code: string }) => plan.code === 'cli_plan');

  test('publishing shows what is new, what changed and what did not, and a dry run changes nothing', async () => {
    const first = await run(['plan', 'publish', '-'], yaml('10.00'));
    expect(first).toMatchObject({
      code: 0,
      err: '',
      out: expect.stringMatching(/^\+ {2}plan +cli_plan +v1 +created$/m),
    });
    expect(first.out).toMatch(/^= {2}metric +users +unchanged$/m);
    expect(await stored()).toMatchObject({ version: 1, price: '10.00', features: [{ code: 'users', limit: '7' }] });

    const file = path.join(folder, 'plans.yaml');
    fs.writeFileSync(file, yaml('12.50'));
    const dry = await run(['plan', 'publish', file, '--dry-run']);
    expect(dry.out).toMatch(/^~ {2}plan +cli_plan +v2 +new version\n {5}price: 1000 → 1250$/m);
    expect((await stored()).version).toBe(1);

    const { changes, dryRun } = await json('plan', 'publish', file);
    expect(dryRun).toBe(false);
    expect(changes).toContainEqual(expect.objectContaining({ code: 'cli_plan', action: 'new version', version: 2 }));
    expect(await stored()).toMatchObject({ version: 2, price: '12.50' });
    expect((await run(['plan', 'publish', file])).out).toContain('Nothing to publish');
  });

  test('a coupon is published, and archived, once', async () => {
    const off = 'coupons:\n  - { code: CLI_OFF, name: Off, percent_off: 10';
    const publishOff = async (end: string) => (await run(['plan', 'publish', '-'], `${off}${end} }`)).out;
    expect(await publishOff('')).toMatch(/^\+ {2}coupon +CLI_OFF +created$/m);
    expect(await publishOff(', archived: true')).toMatch(/^~ {2}coupon +CLI_OFF +archived$/m);
    expect(await publishOff(', archived: true')).toContain('Nothing to publish');
  });

  test('mistakes in a file are all said, with their lines', async () => {
    const { code, err } = await run(['plan', 'publish', '-'], 'plans:\n  - { code: X, name: N, price: 1 }\n');
    expect(code).toBe(1);
    expect(err).toMatch(/line 2: plans\.0\.code: .*\nline 2: plans\.0\.currency: /);
  });
});

test('events are listed behind a sequence, at most as many as asked for', async () => {
  const { account } = await subscribed(world);
  const { events } = await json('event', 'list', '--account', account.publicId, '--after', '1', '--limit', '2');
  expect(events.map((event: { sequence: number }) => event.sequence)).toEqual([2, 3]);
  expect((await run(['event', 'list', '--account', account.publicId])).out).toContain('subscription.created');
});

test('an import with a bad line records the rest, names the line and ends with 1', async () => {
  const { account } = await subscribed(world);
  const lines = Array.from({ length: 25 }, (_, i) => `{"transactionId":"bad-${i}","metric":"nothing"}`);
  const text = ['{"transactionId":"good","metric":"minutes","value":1.5}', ...lines].join('\n');
  const args = ['usage', 'import', '-', '--account', account.publicId];
  const { code, out, err } = await run([...args, '--json'], text);
  expect(code).toBe(1);
  expect(JSON.parse(out)).toMatchObject({ accepted: 1, duplicate: 0, rejected: 25, badLines: 0, complete: true });
  expect(err.match(/^line \d+: NOT_FOUND/gm)).toHaveLength(20);
  expect(err).toContain('… and 5 more');
  const again = await run(args, text.split('\n')[0]);
  expect(again).toMatchObject({ code: 0, err: '', out: expect.stringContaining('0 accepted, 1 duplicate') });
});

test('the demo is made once and says the same tokens again', async () => {
  const first = await json('demo');
  expect(first.accounts.map(({ name }: { name: string }) => name)).toEqual(['Acme Voice', 'Globex Support']);
  for (const { id, token } of first.accounts) {
    expect(uuidOf('account', id)).toBeDefined();
    expect(await doorStatus(token)).toBe(200);
  }
  expect(await json('demo')).toEqual(first);
});

describe('as a program', () => {
  test('webhook listen beside a server knows an endpoint registered after it, and ends on SIGTERM', async () => {
    const program = startProgram('cli.js', ['webhook', 'listen', '--port', '0', '--json'], {
      DATABASE_URL: world.databaseUrl,
    });
    try {
      await expectText(() => program.stderr(), /Register (\S+)/);
      const url = /Register (\S+)/.exec(program.stderr())![1]!;
      const account = await world.account();
      expect((await world.rest(account.token, 'POST', '/webhooks', { url })).status).toBe(201);
      await world.rest(account.token, 'PUT', '/wallet/auto-recharge', { enabled: true, threshold: 1, amount: 5 });
      const [line] = await program.printed(/^\{.*\}$/m);
      expect(JSON.parse(line)).toMatchObject({
        id: expect.stringMatching(/^evt_/),
        type: 'wallet.updated',
        verified: true,
      });
    } finally {
      expect(await program.stop('SIGTERM')).toBe(0);
    }
  });

  test('webhook listen fails on purpose, says so, and knows the repeat', async () => {
    const args = ['webhook', 'listen', '--port', '0', '--fail', '1', '--status', '503', '--retry-after', '1'];
    const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
    const program = startProgram('cli.js', [...args, '--secret', secret], { DATABASE_URL: world.databaseUrl });
    try {
      const [, url] = await program.printed(/Register (\S+)/);
      const body = '{"type":"invoice.paid","timestamp":"2026-11-25T09:00:00.000Z","data":{"total":58.31}}';
      const post = async () => {
        const headers = signatureHeaders({ id: 'evt_1', at: new Date(), body, secrets: [secret] });
        const { status } = await fetch(url!, { method: 'POST', headers, body });
        return status;
      };
      expect([await post(), await post()]).toEqual([503, 204]);
      await program.printed(
        /^2026-11-25T09:00:00\.000Z {2}invoice\.paid {2}evt_1 {2}\[answered 503 with Retry-After: 1\] {2}\{"total":58\.31\}$/m,
      );
      await program.printed(/ evt_1 {2}\[repeat 1\] {2}\{"total":58\.31\}$/m);
    } finally {
      expect(await program.stop('SIGTERM')).toBe(0);
    }
  });

  test('without a server a command starts the database, migrates it, and leaves nothing running', async () => {
    const env = { DATA_DIR: path.join(folder, 'data') };
    const made = JSON.parse(await runProgram('cli.js', ['account', 'create', '--name', 'Alone', '--json'], env));
    expect(fs.existsSync(path.join(env.DATA_DIR, 'pg', 'PG_VERSION'))).toBe(true);
    expect(fs.existsSync(path.join(env.DATA_DIR, 'pg', 'postmaster.pid'))).toBe(false);
    const { accounts } = JSON.parse(await runProgram('cli.js', ['account', 'list', '--json'], env));
    expect(accounts).toEqual([made]);
  }, 60_000);
});

async function expectText(text: () => string, pattern: RegExp): Promise<void> {
  const deadline = Date.now() + 15_000;
  while (!pattern.test(text())) {
    if (Date.now() > deadline) throw new Error(`${pattern} was not printed: ${text()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
