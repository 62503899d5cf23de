import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { createKey } from '../../src/account/apiKeys.js';
import { createAccount } from '../../src/account/createAccount.js';
import { type App, startApp } from '../../src/app.js';
import { parseCatalog } from '../../src/catalog/catalogFile.js';
import { demoCatalogYaml } from '../../src/catalog/demoCatalog.js';
import { publishCatalog } from '../../src/catalog/publishCatalog.js';
import { readConfig } from '../../src/config.js';
import type { SandboxProvider } from '../../src/integrations/payments/sandbox.js';
import { type Actor, systemActor } from '../../src/platform/actor.js';
import { publicId } from '../../src/platform/ids.js';
import { createLogger } from '../../src/platform/log.js';
import { rowsOf, sql } from '../../src/platform/sql.js';
import { expectDescribed } from './described.js';
import { eventsUnlikeCatalogue } from './events.js';

/** A clock that the test moves by hand; it starts at the real time and otherwise runs with it. */
export class HandClock {
  #offsetMs = 0;

  now(): Date {
    return new Date(Date.now() + this.#offsetMs);
  }

  set(at: Date | string): void {
    this.#offsetMs = new Date(at).getTime() - Date.now();
  }

  advanceMs(ms: number): void {
    this.#offsetMs += ms;
  }
}

export interface TestAccount {
  /** The uuid. */
  id: string;
  publicId: string;
  token: string;
  /** Acts on the account with all rights, past every door. */
  actor: Actor;
}

/** Answers are what a test is about: it reads them as freely as a client would. */
// biome-ignore lint/suspicious/noExplicitAny: see above
export type Loose = any;

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  body: Loose;
}

export interface World extends App {
  /** The sandbox, which lets a test look into its books; a world with Stripe has a stand-in to look into. */
  deps: App['deps'] & { payments: SandboxProvider };
  databaseUrl: string;
  clock: HandClock;
  account(options?: { name?: string; currency?: string; timeZone?: string; scopes?: string[] }): Promise<TestAccount>;
  /** One GraphQL request; throws nothing: look at `data` and `errors`. */
  gql(
    token: string | undefined,
    query: string,
    variables?: object,
    headers?: Record<string, string>,
  ): Promise<{ status: number; data: Loose; errors?: Loose[]; extensions?: Loose }>;
  rest(
    token: string | undefined,
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Answer>;
  /** Rows of a statement, for looking behind the doors. */
  rows<Row>(query: ReturnType<typeof sql<Row>>): Promise<Row[]>;
  /** The same as the role that owns the tables: for breaking what the application has no right to break. */
  ownerRows<Row>(query: ReturnType<typeof sql<Row>>): Promise<Row[]>;
  /** Waits (at most 10 s) until every event has been handed to its sinks. */
  settled(): Promise<void>;
}

/**
 * The whole application on its own copy of the migrated database and a free port, with the demo catalog. When it stops, every
 * event that its tests have caused must be as the catalogue says.
 */
export async function startWorld(
  options: { catalog?: string; worker?: boolean; env?: Record<string, string> } = {},
): Promise<World> {
  const base = process.env.TEST_PG_URL!;
  const name = `t_${randomBytes(6).toString('hex')}`;
  const databaseUrl = base.replace(/[^/]+$/, name);
  await asAdmin(base, (admin) => admin.query(`create database ${name} template template_billing`));
  const clock = new HandClock();
  const config = readConfig({
    DATABASE_URL: databaseUrl,
    PORT: '0',
    WEBHOOK_ALLOW_INSECURE: '1',
    LOG_LEVEL: 'error',
    ...options.env,
  });
  const log = createLogger(config.logLevel);
  const app = await startApp({ config, databaseUrl, log, clock, worker: options.worker ?? true });
  await publishCatalog(app.deps, parseCatalog(options.catalog ?? demoCatalogYaml));

  const request = async (url: string, init: RequestInit): Promise<Answer> => {
    const response = await fetch(url, init);
    const text = await response.text();
    const json = response.headers.get('content-type')?.includes('json');
    return { status: response.status, headers: response.headers, text, body: json ? JSON.parse(text) : undefined };
  };
  const bearer = (token: string | undefined): Record<string, string> =>
    token === undefined ? {} : { authorization: `Bearer ${token}` };

  return {
    ...app,
    deps: app.deps as World['deps'],
    databaseUrl,
    clock,
    account: async ({ scopes = ['*:*'], ...of } = {}) => {
      const { id } = await createAccount(app.deps, { name: 'Test', ...of });
      const { token } = await createKey(app.deps, { accountId: id, scopes });
      return { id, publicId: publicId('account', id), token, actor: systemActor(id) };
    },
    gql: async (token, query, variables, headers = {}) => {
      const answer = await request(`${app.url}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...bearer(token), ...headers },
        body: JSON.stringify({ query, variables }),
      });
      return { status: answer.status, ...answer.body };
    },
    rest: async (token, method, path, body, headers = {}) => {
      const answer = await request(`${app.url}/api/v1/billing${path}`, {
        method,
        headers: {
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...bearer(token),
          ...headers,
        },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      });
      expectDescribed({ method, path }, answer);
      return answer;
    },
    rows: (query) => rowsOf(app.deps.db.orm.em.fork(), query),
    ownerRows: (query) => app.asOwner((em) => rowsOf(em, query)),
    settled: async () => {
      const em = app.deps.db.orm.em.fork();
      await until(async () => (await rowsOf(em, sql`select 1 from outbox limit 1`)).length === 0);
    },
    // Its database goes with the run's cluster: dropping each costs a checkpoint that the other files wait for.
    stop: async () => {
      const unlike = await eventsUnlikeCatalogue(databaseUrl);
      await withinReason(app.stop());
      if (unlike.length > 0) throw new Error(`Events are not as the catalogue says:\n${unlike.join('\n')}`);
    },
  };
}

/** Stopping is tested where a program is stopped; here it must not keep the other files waiting, only say that it hangs. */
async function withinReason(stopping: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const tooLong = new Promise<void>((resolve) => {
    timer = setTimeout(() => {
      process.stderr.write(`The application has not stopped in 15 s: ${process.getActiveResourcesInfo().join(', ')}\n`);
      resolve();
    }, 15_000);
  });
  await Promise.race([stopping, tooLong]);
  clearTimeout(timer);
}

/** Works on the cluster's own database, where databases are made. */
export async function asAdmin(base: string, work: (admin: pg.Client) => Promise<unknown>): Promise<void> {
  const admin = new pg.Client({ connectionString: base.replace(/[^/]+$/, 'postgres') });
  await admin.connect();
  try {
    await work(admin);
  } finally {
    await admin.end();
  }
}

/** Polls a condition; fails after 10 s with what it was waiting for. */
export async function until(condition: () => boolean | Promise<boolean>, what = 'the condition'): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`${what} did not come true within 10 s`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
