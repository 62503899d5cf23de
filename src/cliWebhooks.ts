import type { Command } from 'commander';
import { withCore } from './cliCore.js';
import { excerpt, type Terminal, wholeNumber } from './cliTerminal.js';
import { BillingError } from './domain/errors.js';
import type { WebhookListener } from './webhook/listenWebhooks.js';

interface ListenOptions {
  port: number;
  host: string;
  secret?: string;
  json?: boolean;
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
    .option('--json', 'one JSON document a line')
    .action((options: ListenOptions) => listen(terminal, options));
}

async function listen(terminal: Terminal, { port, host, secret, json }: ListenOptions): Promise<void> {
  const { listenWebhooks } = await import('./webhook/listenWebhooks.js');
  if (secret !== undefined) await checkSecret(secret);
  const out = (line: string): unknown => terminal.stdout.write(`${printable(line)}\n`);
  const err = (line: string): unknown => terminal.stderr.write(`${printable(line)}\n`);
  const listener = await listenWebhooks({
    host,
    port,
    readSecrets: secret === undefined ? readSecrets : async () => [secret],
    onVerified: (webhook) => {
      const { id, type, timestamp, data } = webhook;
      out(json ? JSON.stringify({ ...webhook, verified: true }) : `${timestamp}  ${type}  ${id}  ${excerpt(data)}`);
    },
    onRefused: ({ id, status, reason }) => err(`refused with ${status}${id ? ` ${id}` : ''}: ${reason}`),
  });
  const invitation = await inviteTo(listener);
  (json ? terminal.stderr : terminal.stdout).write(invitation);
  await signalled();
  await listener.close();
}

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
