import { migrate, startApp } from './app.js';
import { ConfigError, type Roles, readConfig } from './config.js';
import { type Database, openDatabase } from './database.js';
import { type DemoAccount, prepareDemo } from './demo.js';
import { createLogger } from './platform/log.js';

/** In-flight work that hasn't ended by then is abandoned; its rows are finished by the next start. */
const stopWithinMs = 15_000;

/** Starts everything and runs until SIGTERM or SIGINT. What is missing or wrong is said in plain words, with what to do. */
export async function serve(): Promise<void> {
  const startedAt = performance.now();
  let database: Database | undefined;
  try {
    const config = readConfig();
    const log = createLogger(config.logLevel);
    database = await openDatabase(config);
    const { url: databaseUrl, ownerUrl } = database;
    await migrate({ databaseUrl, ownerUrl, log });
    const app = await startApp({ config, databaseUrl, ownerUrl, log });
    const demo = config.demo && config.roles.api ? await prepareDemo(app.deps) : [];
    stopOnSignal(async () => {
      await app.stop();
      await database?.stop();
    });
    process.stdout.write(
      banner({
        url: app.url,
        roles: config.roles,
        graphiql: config.graphiql,
        embedded: database.embedded,
        payments: `${config.paymentProvider} payments`,
        demo,
        ms: performance.now() - startedAt,
      }),
    );
  } catch (error) {
    process.stderr.write(`${startError(error)}\n`);
    await database?.stop();
    process.exit(1);
  }
}

function stopOnSignal(stop: () => Promise<void>): void {
  let stopping = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (stopping) return;
      stopping = true;
      setTimeout(() => process.exit(1), stopWithinMs).unref();
      stop().then(
        () => process.exit(0),
        (error: unknown) => {
          process.stderr.write(`Stopping failed: ${String(error)}\n`);
          process.exit(1);
        },
      );
    });
  }
}

function banner({
  url,
  roles,
  graphiql,
  embedded,
  payments,
  demo,
  ms,
}: {
  url: string;
  roles: Roles;
  graphiql: boolean;
  embedded: boolean;
  payments: string;
  demo: DemoAccount[];
  ms: number;
}): string {
  const first = demo[0];
  const { api, worker } = roles;
  const facts = [
    `${(ms / 1000).toFixed(1)} s`,
    ...(api && worker ? [] : [api ? 'api only' : 'worker only']),
    embedded ? 'embedded PostgreSQL' : 'PostgreSQL of DATABASE_URL',
    payments,
  ];
  const title = ['', `Semaswift Billing is ready (${facts.join(', ')})`, ''];
  if (!api) return [...title, `  Health        ${url}/healthz`, '', ''].join('\n');
  const lines = [
    ...title,
    `  GraphQL       ${url}/graphql   (WebSocket on the same path)`,
    `  REST          ${url}/api/v1/billing`,
    ...(graphiql ? [`  GraphiQL      ${url}/graphiql${first ? `?token=${first.token}` : ''}`] : []),
    `  Health        ${url}/healthz`,
    '',
    ...(worker
      ? []
      : ['Renewals, webhooks and retries wait for a process with ROLES=worker on the same database.', '']),
  ];
  if (first) {
    lines.push(
      'Demo accounts',
      ...demo.flatMap(({ id, name, token }) => [`  ${name}  ${id}`, `    token ${token}`]),
      '',
      'Try it:',
    );
    lines.push(`  curl -s ${url}/api/v1/billing/usage -H 'Authorization: Bearer ${first.token}'`, '');
  } else {
    lines.push(
      'Make an account and a token:',
      '  npx billing account create --name "Acme"',
      '  npx billing key create --account ID --json',
      '',
    );
  }
  return `${lines.join('\n')}\n`;
}

function startError(error: unknown): string {
  if (error instanceof ConfigError) return error.message;
  const { code, message, port } = error as { code?: string; message?: string; port?: number };
  if (code === 'EADDRINUSE')
    return `Port ${port} is in use. Choose another one:\n  PORT=${(port ?? 4000) + 1} npm start`;
  if (code === 'ECONNREFUSED' || code === 'ENOTFOUND' || code === '28P01' || code === '3D000') {
    return `The database of DATABASE_URL can't be used: ${message}. Check it with\n  psql "$DATABASE_URL" -c 'select 1'`;
  }
  return `Semaswift Billing could not start: ${error instanceof Error ? (error.stack ?? message) : String(error)}`;
}
