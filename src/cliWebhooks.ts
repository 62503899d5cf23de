import { type Command, InvalidArgumentError } from 'commander';
import { withCore } from './cliCore.js';
import { excerpt, parseDuration, type Terminal, wholeNumber } from './cliTerminal.js';
import { BillingError } from './domain/errors.js';
import type { ReceivedWebhook, WebhookListener } from './webhook/listenWebhooks.js';
import type { Misbehaviour } from './webhook/misbehave.js';

interface ListenOptions extends Faults {
  port: number;
  host: string;
  secret?: string;
  json?: boolean;
}

/** Options to do wrong on purpose. */
interface Faults {
  fail?: { share: number } | { first: number };
  status: number;
  delay?: number;
  drop?: { share: number };
  retryAfter?: number;
}

export function addWebhookCommands(program: Command, terminal: Terminal): void {
  program
    .command('webhook')
    .description('receive webhooks while developing')
    .command('listen')
    .description('print each delivery whose signature is right, until Ctrl-C')
    .requiredOption('--port <port>', '0: any free one', wholeNumber({ min: 0, max: 65_535 }))
    .option('--host <host>', 'address to listen on', '127.0.0.1')
    .option(
      '--secret <whsec>',
      'the endpoint’s secret; without it, those of all endpoints in the database that point here',
    )
    .option(
      '--fail <percent|N>',
      'answer --status to so many of 100 (30%), or to the first N attempts of each',
      shareOrFirst,
    )
    .option('--status <code>', 'what --fail answers', wholeNumber({ min: 300, max: 599 }), 500)
    .option(
      '--retry-after <seconds>',
      'ask to be left alone for so long, with --fail',
      wholeNumber({ min: 0, max: 86_400 }),
    )
    .option('--delay <duration>', 'wait before answering: 2s, or 20s, which is too late', parseDuration)
    .option('--drop <percent>', 'close the connection of so many of 100 without an answer', share)
    .option('--json', 'one JSON document a line')
    .action((options: ListenOptions) => listen(terminal, options));
}

async function listen(terminal: Terminal, { port, host, secret, json, ...faults }: ListenOptions): Promise<void> {
  const { listenWebhooks } = await import('./webhook/listenWebhooks.js');
  if (secret !== undefined) await checkSecret(secret);
  const out = (line: string): unknown => terminal.stdout.write(`${printable(line)}\n`);
  const err = (line: string): unknown => terminal.stderr.write(`${printable(line)}\n`);
  const listener = await listenWebhooks({
    host,
    port,
    readSecrets: secret === undefined ? readSecrets : async () => [secret],
    misbehaviour: misbehaviourOf(faults),
    onVerified: (webhook) => out(json ? JSON.stringify({ ...webhook, verified: true }) : lineOf(webhook)),
    onRefused: ({ id, status, reason }) => err(`refused with ${status}${id ? ` ${id}` : ''}: ${reason}`),
  });
  const invitation = await inviteTo(listener);
  (json ? terminal.stderr : terminal.stdout).write(invitation);
  await signalled();
  await listener.close();
}

/** `2026-…  invoice.paid  evt_…  [repeat 2, answered 500]  {…}` */
function lineOf({ id, type, timestamp, data, attempt, fault }: ReceivedWebhook): string {
  const marks = [...(attempt > 1 ? [`repeat ${attempt - 1}`] : []), ...(fault === undefined ? [] : [fault])];
  const marked = marks.length > 0 ? [`[${marks.join(', ')}]`] : [];
  return [timestamp, type, id, ...marked, excerpt(data)].join('  ');
}

const misbehaviourOf = ({ fail, status, delay = 0, drop, retryAfter }: Faults): Misbehaviour => ({
  delayMs: delay,
  drop: drop?.share ?? 0,
  fail: fail && 'share' in fail ? fail.share : 0,
  failFirst: fail && 'first' in fail ? fail.first : 0,
  status,
  retryAfter,
});

/** `30%` or `30` → 0.3. */
function share(text: string): { share: number } {
  const percent = /^(\d{1,3})%?$/.exec(text)?.[1];
  if (percent === undefined || Number(percent) > 100)
    throw new InvalidArgumentError('Expected a percentage from 0% to 100%.');
  return { share: Number(percent) / 100 };
}

/** `30%` is a share, `3` a count. */
const shareOrFirst = (text: string): { share: number } | { first: number } =>
  text.endsWith('%') ? share(text) : { first: wholeNumber({ min: 1, max: 1_000 })(text) };

/**
 * Opened for the moment only: the listener outlives restarts of the server, which takes the embedded PostgreSQL to another
 * port, and must not keep it from starting.
 */
const readSecrets = (port: number): Promise<readonly string[]> =>
  withCore(async ({ deps }) => {
    const { loopbackSecrets } = await import('./webhook/listenWebhooks.js');
    return loopbackSecrets(deps.db.orm.em.fork(), port);
  });

async function checkSecret(secret: string): Promise<void> {
  const { signatureHeaders } = await import('./webhook/signature.js');
  try {
    if (!secret.startsWith('whsec_')) throw new Error('no prefix');
    signatureHeaders({ id: 'check', at: new Date(), body: '', secrets: [secret] });
  } catch {
    throw new BillingError('INVALID', '--secret is not a secret, expected whsec_ and base64');
  }
}

async function inviteTo({ url }: WebhookListener): Promise<string> {
  const { readConfig } = await import('./config.js');
  const { publicUrl, host, port } = readConfig();
  const server = publicUrl ?? `http://${host}:${port}`;
  const mutation = `mutation { createWebhookEndpoint(input: { idempotencyKey: "listen-1", url: "${url}" }) { webhookEndpoint { id } userErrors { message } } }`;
  const curl = (path: string, body: object): string =>
    [
      `  curl -s ${server}${path} -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\`,
      `    -d '${JSON.stringify(body)}'`,
    ].join('\n');
  return `${[
    `Listening. Register ${url}`,
    '',
    curl('/api/v1/billing/webhooks', { url }),
    '',
    'or by GraphQL',
    '',
    curl('/graphql', { query: mutation }),
    '',
  ].join('\n')}\n`;
}

/** A sender's text must not steer the terminal. */
const printable = (line: string): string => line.replace(/\p{Cc}/gu, '�');

function signalled(): Promise<void> {
  return new Promise((resolve) => {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => resolve());
  });
}
