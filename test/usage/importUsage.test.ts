import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { operatorAccountId } from '../../src/account/apiKeys.js';
import { systemActor } from '../../src/platform/actor.js';
import { sql } from '../../src/platform/sql.js';
import { type ImportProblem, type ImportUsageInput, importUsage } from '../../src/usage/importUsage.js';
import { usageSummary } from '../../src/usage/usageSummary.js';
import { freshKey, subscribed, testCatalogYaml } from '../support/billing.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
let folder: string;
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'billing-import-'));
});
afterAll(async () => {
  await world.stop();
  await fs.rm(folder, { recursive: true });
});

const line = (metric: string, more: object = {}): string =>
  JSON.stringify({ transactionId: freshKey(), metric, ...more });
const many = (count: number, metric: string, more: object = {}): string[] =>
  Array.from({ length: count }, () => line(metric, more));

async function fileOf(...lines: string[]): Promise<string> {
  const file = path.join(folder, `${freshKey()}.ndjson`);
  await fs.writeFile(file, `${lines.join('\n')}\n`);
  return file;
}

async function run(
  account: TestAccount | undefined,
  lines: ImportUsageInput['lines'],
  options: Partial<ImportUsageInput> = {},
) {
  const problems: ImportProblem[] = [];
  const actor = account?.actor ?? systemActor(operatorAccountId);
  const summary = await importUsage(world.deps, actor, {
    lines,
    onProblem: (problem) => problems.push(problem),
    ...options,
  });
  return { summary, problems };
}

async function used(account: TestAccount, metric: string): Promise<string> {
  const { items } = await usageSummary(world.deps.db.orm.em.fork(), { accountId: account.id, clock: world.clock });
  return items.find((item) => item.metric.code === metric)!.used.toFixed();
}

/** Interrupts an import behind its first batch. */
async function interrupted(account: TestAccount, file: string, batchSize = 10) {
  const stop = new AbortController();
  const { summary } = await run(account, file, { batchSize, signal: stop.signal, onProgress: () => stop.abort() });
  expect(summary.complete).toBe(false);
  expect(summary.line).toBeGreaterThan(0);
  return summary;
}

test('numbers keep their digits, in values and in properties; either spelling of a field is read', async () => {
  const { account } = await subscribed(world, { planCode: 'premium' });
  const file = await fileOf(
    '{"transactionId":"exact-1","metric":"minutes","value":0.1}',
    '{"transaction_id":"exact-2","metric":"minutes","value":"0.2","properties":{"n":12345678901234567890.5}}',
    '{"transactionId":"exact-3","metric":"minutes","value":1234567890123.123456789}',
    '{"transactionId":"exact-4","metric":"minutes","value":1e-7,"timestamp":null}',
  );
  const { summary } = await run(account, file);
  expect(summary).toMatchObject({ accepted: 4, duplicate: 0, rejected: 0, badLines: 0, line: 4, complete: true });
  expect(await used(account, 'minutes')).toBe('1234567890123.423456889');
  const rows = await world.rows(
    sql<{
      properties: string;
    }>`select properties::text from usage_event where account_id = ${account.id} and id = 'exact-2'`,
  );
  expect(rows[0]!.properties).toBe('{"n": 12345678901234567890.5}');
});

test('a file imported again counts nothing twice', async () => {
  const { account } = await subscribed(world);
  const file = await fileOf(...many(25, 'minutes'));
  expect((await run(account, file, { batchSize: 10 })).summary).toMatchObject({ accepted: 25, duplicate: 0 });
  expect((await run(account, file, { batchSize: 10 })).summary).toMatchObject({ accepted: 0, duplicate: 25 });
  expect(await used(account, 'minutes')).toBe('25');
});

test('bad lines and rejected events are told by line, in order, and stop nothing', async () => {
  const { account } = await subscribed(world);
  const file = await fileOf(
    line('minutes'),
    'not json',
    '',
    line('nothing'),
    '{"transactionId":5,"metric":"minutes"}',
    '{"metric":"minutes"}',
    line('minutes', { value: true }),
    line('minutes', { timestamp: 'yesterday' }),
    '[1]',
    line('minutes', { properties: [] }),
    `${line('minutes')}\r`,
  );
  const { summary, problems } = await run(account, file, { batchSize: 3 });
  expect(summary).toMatchObject({ accepted: 2, duplicate: 0, rejected: 2, badLines: 6, line: 11 });
  expect(problems.map((problem) => problem.line)).toEqual([2, 4, 5, 6, 7, 8, 9, 10]);
  expect(problems.map((problem) => problem.reason)).toEqual([
    expect.stringMatching(/^not JSON: /),
    expect.stringMatching(/^NOT_FOUND: .*transactionId key-/),
    'transactionId is 5, expected a string',
    'transactionId is missing',
    'value is true, expected a number, or a decimal in a string',
    expect.stringMatching(/^INVALID: timestamp/),
    expect.stringMatching(/^expected an object/),
    'properties is not an object',
  ]);
});

test('an account’s events keep their order over batches under way at once', async () => {
  const { account } = await subscribed(world); // 10 requests, then BLOCK
  const { summary, problems } = await run(account, await fileOf(...many(30, 'requests')), { batchSize: 3 });
  expect(summary).toMatchObject({ accepted: 10, rejected: 20 });
  expect(problems.map((problem) => problem.line)).toEqual(Array.from({ length: 20 }, (_, i) => i + 11));
});

test('each line may name its account; without one for the whole file it must', async () => {
  const [one, two] = [await subscribed(world), await subscribed(world)];
  const file = await fileOf(
    ...many(3, 'minutes', { accountId: one.account.publicId }),
    ...many(2, 'minutes', { account_id: two.account.publicId }),
    line('minutes'),
    line('minutes', { accountId: 'acct_nobody' }),
  );
  const { summary, problems } = await run(undefined, file);
  expect(summary).toMatchObject({ accepted: 5, rejected: 1, badLines: 1 });
  expect(problems.map((problem) => problem.reason)).toEqual([
    expect.stringMatching(/^accountId is missing/),
    expect.stringMatching(/^NOT_FOUND: No account/),
  ]);
  expect([await used(one.account, 'minutes'), await used(two.account, 'minutes')]).toEqual(['3', '2']);
});

describe('an interrupted import', () => {
  test('goes on behind the last committed batch, with the counts of before', async () => {
    const { account } = await subscribed(world);
    const file = await fileOf('bad', ...many(199, 'minutes'));
    const first = await interrupted(account, file);
    expect(first.line).toBeLessThan(200);
    expect(await used(account, 'minutes')).toBe(String(first.accepted));

    const { summary } = await run(account, file);
    expect(summary).toMatchObject({
      resumedAfterLine: first.line,
      accepted: 199,
      duplicate: 0,
      badLines: 1,
      line: 200,
      complete: true,
    });
    expect(await used(account, 'minutes')).toBe('199');
    await expect(fs.stat(`${file}.progress`)).rejects.toThrow('ENOENT');
  });

  test('begins again when the file has changed', async () => {
    const { account } = await subscribed(world);
    const file = await fileOf(...many(100, 'minutes'));
    const first = await interrupted(account, file);
    const text = await fs.readFile(file, 'utf8');
    await fs.writeFile(file, `${line('minutes')}\n${text}`);
    const { summary } = await run(account, file);
    expect(summary).toMatchObject({ resumedAfterLine: 0, accepted: 101 - first.accepted, duplicate: first.accepted });
    expect(await used(account, 'minutes')).toBe('101');
  });

  test('is not taken for that of another account', async () => {
    const [one, two] = [await subscribed(world), await subscribed(world)];
    const file = await fileOf(...many(100, 'minutes'));
    await interrupted(one.account, file);
    expect((await run(two.account, file)).summary).toMatchObject({ resumedAfterLine: 0, accepted: 100 });
    expect(await used(two.account, 'minutes')).toBe('100');
  });

  test('is not taken for that of another database', async () => {
    const { account } = await subscribed(world);
    const file = await fileOf(...many(100, 'minutes'));
    await interrupted(account, file);
    await world.rows(sql`delete from server_secret where name = 'usage_import'`);
    expect((await run(account, file)).summary).toMatchObject({ resumedAfterLine: 0, line: 100 });
  });
});

test('lines are found wherever the chunks of a stream end, and one that is too long is one bad line', async () => {
  const { account } = await subscribed(world, { planCode: 'premium' });
  const text = Buffer.from(
    [
      line('minutes', { properties: { name: 'Zoë 😀' } }),
      `"${'x'.repeat(2_500_000)}"`,
      line('minutes'),
      line('minutes'),
    ].join('\n'),
  );
  const broken = Buffer.concat([Buffer.from('\n"'), Buffer.from([0xff]), Buffer.from('"')]);
  async function* chunks() {
    for (let at = 0; at < 300; at += 7) yield text.subarray(at, Math.min(at + 7, 300));
    for (let at = 300; at < text.length; at += 100_000) yield text.subarray(at, at + 100_000);
    yield broken;
  }
  const { summary, problems } = await run(account, chunks());
  expect(summary).toMatchObject({ accepted: 3, badLines: 2, line: 5, offset: text.length + broken.length });
  expect(problems).toEqual([
    { line: 2, reason: 'longer than 1000000 bytes' },
    { line: 5, reason: 'not UTF-8' },
  ]);
});
