import { randomBytes } from 'node:crypto';
import { createKey } from '../../../src/account/apiKeys.js';
import { createAccount } from '../../../src/account/createAccount.js';
import { openCore } from '../../../src/app.js';
import { parseCatalog } from '../../../src/catalog/catalogFile.js';
import { demoCatalogYaml } from '../../../src/catalog/demoCatalog.js';
import { publishCatalog } from '../../../src/catalog/publishCatalog.js';
import { readConfig } from '../../../src/config.js';
import type { Deps } from '../../../src/platform/deps.js';
import { createLogger } from '../../../src/platform/log.js';
import { rowsOf, type sql } from '../../../src/platform/sql.js';
import { type Program, startProgram } from '../program.js';
import { asAdmin } from '../world.js';

export interface ProcessAccount {
  id: string;
  token: string;
}

/** Real processes of the product on one database, to be killed and started again. */
export interface ProcessWorld {
  readonly databaseUrl: string;
  /** The use cases in this process, for making accounts and looking behind the doors: it runs no relay, no job and no sweep. */
  readonly deps: Deps;
  /** Starts a process and waits until it is ready; its port is a free one. */
  start(roles: 'api' | 'worker'): Promise<{ url: string; program: Program }>;
  account(): Promise<ProcessAccount>;
  /** All that the processes have printed. */
  printed(): string;
  rows<Row>(query: ReturnType<typeof sql<Row>>): Promise<Row[]>;
  stop(): Promise<void>;
}

/** On a fresh database of the cluster at `TEST_PG_URL`. */
export async function startProcessWorld(env: Record<string, string> = {}): Promise<ProcessWorld> {
  const base = process.env.TEST_PG_URL!;
  const name = `p_${randomBytes(6).toString('hex')}`;
  const databaseUrl = base.replace(/[^/]+$/, name);
  await asAdmin(base, (admin) => admin.query(`create database ${name} template template_billing`));
  const shared = { DATABASE_URL: databaseUrl, WEBHOOK_ALLOW_INSECURE: '1', LOG_LEVEL: 'error', ...env };
  const config = readConfig({ ...shared, DATABASE_POOL_SIZE: '6' });
  const core = await openCore({ config, databaseUrl, log: createLogger('error') });
  await publishCatalog(core.deps, parseCatalog(demoCatalogYaml));
  const running = new Set<Program>();
  const started: Program[] = [];
  const endWithUs = (): void => {
    for (const { process: child } of running) child.kill('SIGKILL');
  };
  process.once('exit', endWithUs);

  return {
    databaseUrl,
    deps: core.deps,
    start: async (roles) => {
      const program = startProgram('main.js', [], { ...shared, ROLES: roles, PORT: '0' });
      running.add(program);
      started.push(program);
      program.process.once('exit', () => running.delete(program));
      const [, url] = await program.printed(/Health +(http\S+)\/healthz/, 90_000);
      return { url: url!, program };
    },
    account: async () => {
      const { id } = await createAccount(core.deps, { name: 'Process' });
      const { token } = await createKey(core.deps, { accountId: id, scopes: ['*:*'] });
      return { id, token };
    },
    printed: () => started.map((program) => program.stdout() + program.stderr()).join(''),
    rows: (query) => rowsOf(core.deps.db.orm.em.fork(), query),
    stop: async () => {
      await Promise.all([...running].map((program) => program.stop('SIGKILL')));
      process.off('exit', endWithUs);
      await core.close();
    },
  };
}

let changes = 0;

/** One change of an account through the door of an api, and with it one `wallet.updated`. Throws unless it is answered as done. */
export async function changeWallet(url: string, { token }: ProcessAccount): Promise<void> {
  const response = await fetch(`${url}/api/v1/billing/wallet/auto-recharge`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ enabled: false, threshold: 1 + (changes++ % 1_000), amount: 5 }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`the change was answered with ${response.status}: ${text}`);
}
