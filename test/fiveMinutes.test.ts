import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import { print } from 'graphql';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import {
  ChangePlanDocument,
  OverviewDocument,
  RegisterWebhookDocument,
  TopUpDocument,
  WatchThresholdsDocument,
  type WatchThresholdsSubscription,
} from './generated/graphql.js';
import { freePort, type Program, runProgram, startProgram } from './support/program.js';
import { until } from './support/world.js';

// The README's "Five minutes" with real processes and real clients: nothing here knows the code but its command line,
// its ports and its schema.

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'billing-five-minutes-'));
const running: Program[] = [];
let env: Record<string, string>;
let url: string;
let listenPort: number;

async function start(): Promise<Program> {
  const server = startProgram('main.js', [], env);
  running.push(server);
  await server.printed(/Semaswift Billing is ready/);
  return server;
}

beforeAll(async () => {
  const port = await freePort();
  listenPort = await freePort();
  url = `http://127.0.0.1:${port}`;
  env = { DATA_DIR: path.join(folder, 'data'), PORT: String(port), LOG_LEVEL: 'error' };
});

afterAll(async () => {
  for (const program of running.reverse()) await program.stop();
  fs.rmSync(folder, { recursive: true, force: true });
});

async function gql<Result, Variables>(
  token: string,
  document: TypedDocumentNode<Result, Variables>,
  variables: Variables,
): Promise<Result> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    body: JSON.stringify({ query: print(document), variables }),
  });
  const { data, errors } = (await response.json()) as { data: Result; errors?: { message: string }[] };
  if (errors) throw new Error(errors.map((error) => error.message).join('; '));
  return data;
}

test('from start to a usage threshold on a socket and a verified webhook, money, a PDF, and all still there after a restart', async () => {
  const server = await start();

  // the printed curl line works when pasted
  const [, curlUrl, curlToken] = await server.printed(/curl -s (\S+) -H 'Authorization: Bearer (\S+)'/);
  const usage = await fetch(curlUrl!, { headers: { authorization: `Bearer ${curlToken}` } });
  expect(await usage.json()).toMatchObject({
    users: { limit: 50, used: 35 },
    storage: { limit_gb: 100, used_gb: 45.7 },
    voice_minutes: { limit: 5000, used: 2340 },
  });

  // `billing demo --json` beside the running server names the same accounts and tokens
  const { accounts } = JSON.parse(await runProgram('cli.js', ['demo', '--json'], env)) as {
    accounts: { id: string; name: string; token: string }[];
  };
  expect(accounts).toHaveLength(2);
  const { id: accountId, token } = accounts[0]!;
  expect(token).toBe(curlToken);

  const before = await gql(token, OverviewDocument, {});
  expect(before.viewer.subscription?.plan.code).toBe('plan_professional');
  expect(before.viewer.wallet.balance.amount).toBe('250.00');
  expect(before.invoices.nodes.map((invoice) => invoice.status)).toEqual(['PAID', 'PAID']);

  // a socket that watches
  const socket = createClient({
    url: `${url.replace('http', 'ws')}/graphql`,
    webSocketImpl: WebSocket,
    connectionParams: { authorization: `Bearer ${token}` },
    retryAttempts: 0,
  });
  const thresholds: WatchThresholdsSubscription['usageThreshold'][] = [];
  socket.subscribe<WatchThresholdsSubscription>(
    { query: print(WatchThresholdsDocument), variables: { after: '0' } },
    { next: ({ data }) => void (data && thresholds.push(data.usageThreshold)), error: () => {}, complete: () => {} },
  );

  // a receiver of webhooks
  const listener = startProgram('cli.js', ['webhook', 'listen', '--port', String(listenPort), '--json'], env);
  running.push(listener);
  await until(
    () =>
      fetch(`http://127.0.0.1:${listenPort}/`).then(
        () => true,
        () => false,
      ),
    'the webhook listener',
  );
  const registered = await gql(token, RegisterWebhookDocument, {
    input: {
      idempotencyKey: 'five-minutes',
      url: `http://127.0.0.1:${listenPort}/billing`,
      events: ['usage.threshold'],
    },
  });
  expect(registered.createWebhookEndpoint.userErrors).toEqual([]);
  expect(registered.createWebhookEndpoint.webhookEndpoint?.secret).toMatch(/^whsec_/);

  // usage up to 80 % of the limit: 2340 + 17 × 100 = 4040 of 5000
  const file = path.join(folder, 'usage.ndjson');
  const lines = Array.from({ length: 17 }, (_, i) =>
    JSON.stringify({ transactionId: `call-${i}`, metric: 'voice_minutes', value: '100' }),
  );
  fs.writeFileSync(file, `${lines.join('\n')}\n`);
  await runProgram('cli.js', ['usage', 'import', file, '--account', accountId], env);
  await runProgram('cli.js', ['usage', 'import', file, '--account', accountId], env); // repeating changes nothing

  const deliveries = () =>
    listener
      .stdout()
      .split('\n')
      .filter((line) => line.includes('"usage.threshold"'));
  await until(
    () => thresholds.length > 0 && deliveries().length > 0,
    'the threshold on the socket and at the receiver',
  );
  expect(thresholds).toEqual([
    expect.objectContaining({ metric: { code: 'voice_minutes' }, thresholdPercent: 80, limit: '5000' }),
  ]);
  expect(JSON.parse(deliveries()[0]!)).toMatchObject({
    type: 'usage.threshold',
    verified: true,
    data: { metric: 'voice_minutes', threshold_percent: 80, sequence: Number(thresholds[0]!.cursor) },
  });

  // money
  const topUp = { input: { idempotencyKey: 'five-minutes', amount: { amount: '100.00', currency: 'USD' } } };
  const charged = await gql(token, TopUpDocument, topUp);
  expect(charged.topUp).toMatchObject({
    wallet: { balance: { amount: '350.00' } },
    payment: { status: 'SUCCEEDED' },
    userErrors: [],
    replayed: false,
  });
  expect((await gql(token, TopUpDocument, topUp)).topUp).toMatchObject({
    wallet: { balance: { amount: '350.00' } },
    replayed: true,
  });

  const changed = await gql(token, ChangePlanDocument, {
    input: {
      idempotencyKey: 'five-minutes',
      subscriptionId: before.viewer.subscription!.id,
      planCode: 'plan_enterprise',
    },
  });
  expect(changed.changePlan.userErrors).toEqual([]);
  expect(changed.changePlan.subscription).toMatchObject({ status: 'ACTIVE', plan: { code: 'plan_enterprise' } });
  const invoice = changed.changePlan.invoice!;
  expect(invoice.status).toBe('PAID');

  // the PDF
  const pdfPath = `/api/v1/billing/invoices/${invoice.id}/pdf`;
  const pdf = await fetch(url + pdfPath, { headers: { authorization: `Bearer ${token}` } });
  expect(pdf.headers.get('content-type')).toBe('application/pdf');
  const bytes = Buffer.from(await pdf.arrayBuffer());
  expect(bytes.subarray(0, 5).toString()).toBe('%PDF-');

  // stop and start: all still there
  const overview = await gql(token, OverviewDocument, {});
  await socket.dispose();
  expect(await listener.stop('SIGINT')).toBe(0);
  expect(await server.stop('SIGTERM')).toBe(0);
  const again = await start();
  expect(await gql(token, OverviewDocument, {})).toEqual(overview);
  const samePdf = await fetch(url + pdfPath, { headers: { authorization: `Bearer ${token}` } });
  expect(Buffer.from(await samePdf.arrayBuffer()).equals(bytes)).toBe(true);
  expect(thresholds).toHaveLength(1);
  expect(deliveries()).toHaveLength(1);

  // killed without a warning: nothing keeps running, nothing is lost
  const postgresPid = Number(fs.readFileSync(path.join(folder, 'data', 'pg', 'postmaster.pid'), 'utf8').split('\n')[0]);
  await again.stop('SIGKILL');
  await until(() => !isRunning(postgresPid), 'the end of PostgreSQL');
  await start();
  expect(await gql(token, OverviewDocument, {})).toEqual(overview);
}, 60_000);

function isRunning(pid: number): boolean {
  try {
    const state = /^\d+ \(.*\) (\w)/.exec(fs.readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1];
    return state !== undefined && state !== 'Z';
  } catch {
    return false;
  }
}
