// How many postings a second `billing ledger verify` proves, beside the least any verifier has to read: the sum of the postings of
// each movement. Fills a PostgreSQL of its own by the set. `npm run bench:ledger -- --accounts 5000 --postings 1000000`
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { migrate } from '../src/app.js';
import { startEmbeddedPostgres } from '../src/platform/embeddedPostgres.js';
import { createLogger } from '../src/platform/log.js';
import { openForVerifying, verify } from '../src/verify.js';
import { option } from './options.js';

const accounts = option('accounts', 5_000);
const wanted = option('postings', 1_000_000);
const turns = option('turns', 3);

/**
 * What a month of an account books: an invoice over 35.70 with tax (3 postings), a top-up of 20.00 (2), which pays a part of it
 * (2), and a card that pays the rest (2).
 */
const postingsOfMonth = 9;
const months = Math.max(1, Math.round(wanted / accounts / postingsOfMonth));

/** A uuid of a month's row, in the order of the months as a UUIDv7 is in that of time. */
const id = (what: number): string =>
  `(lpad(to_hex(m), 8, '0') || '-0000-7000-${8000 + what}-' || right(replace(a.id::text, '-', ''), 12))::uuid`;
const [invoice, topUp, payment, issued, toppedUp, drawn, paid] = [1, 2, 3, 4, 5, 6, 7].map(id);
const at = `timestamptz '2020-01-01' + m * interval '1 month'`;
const each = `from account a, generate_series(1, ${months}) m`;
const kinds = { wallet: 0n, receivable: 0n, revenue: 3000n, tax: 570n, provider_clearing: -3570n };

const fill = [
  `insert into account (id, name, currency, time_zone, invoice_prefix, last_invoice_number, created_at)
   select md5(i::text)::uuid, 'Bench', 'USD', 'UTC', 'B' || i, ${months}, '2020-01-01' from generate_series(1, ${accounts}) i`,
  ...Object.entries(kinds).map(
    ([kind, monthly]) => `insert into ledger_account (account_id, id, kind, currency, balance_minor)
      select id, md5(id::text || '${kind}')::uuid, '${kind}', 'USD', ${monthly} * ${months} from account`,
  ),
  `insert into invoice (account_id, id, number, status, reason, customer_name, time_zone, currency, issued_at, due_at, paid_at,
     subtotal_minor, discount_minor, tax_minor, total_minor, credit_applied_minor, wallet_applied_minor, amount_paid_minor,
     amount_due_minor, created_at, discounts, taxes, tax_exempt, credit_noted_minor)
   select a.id, ${invoice}, a.invoice_prefix || '-' || lpad(m::text, 6, '0'), 'PAID', 'one_off', 'Bench', 'UTC', 'USD', ${at}, ${at}, ${at},
     3000, 0, 570, 3570, 0, 2000, 1570, 0, ${at}, '[]', '[]', false, 0 ${each}`,
  `insert into payment_method (account_id, id, status, type, is_default, created_at)
   select id, id, 'ACTIVE', 'card', true, created_at from account`,
  ...[`${topUp}, 'top_up', a.id, 2000, 'top-' || m`, `${payment}, 'invoice', ${invoice}, 1570, 'pay-' || m`].map(
    (
      row,
    ) => `insert into payment (account_id, id, purpose, subject_id, amount_minor, provider_key, currency, status, payment_method_id,
       description, created_at, settled_at) select a.id, ${row}, 'USD', 'SUCCEEDED', a.id, 'Bench', ${at}, ${at} ${each}`,
  ),
  ...[
    `${issued}, 'invoice_issued', ${invoice}, 0, null::bigint`,
    `${toppedUp}, 'top_up', ${topUp}, 2000, 2000`,
    `${drawn}, 'wallet_payment', ${invoice}, -2000, 0`,
    `${paid}, 'invoice_payment', ${payment}, 0, null`,
  ].map(
    (
      row,
    ) => `insert into ledger_transaction (account_id, id, type, reference_id, wallet_amount_minor, wallet_balance_after_minor, currency,
       created_at) select a.id, ${row}, 'USD', ${at} ${each}`,
  ),
  ...(
    [
      [issued, { receivable: -3570, revenue: 3000, tax: 570 }],
      [toppedUp, { provider_clearing: -2000, wallet: 2000 }],
      [drawn, { wallet: -2000, receivable: 2000 }],
      [paid, { provider_clearing: -1570, receivable: 1570 }],
    ] as const
  ).flatMap(([movement, legs]) =>
    Object.entries(legs).map(
      ([
        kind,
        minor,
      ]) => `insert into ledger_posting (account_id, id, transaction_id, ledger_account_id, amount_minor, currency)
        select a.id, gen_random_uuid(), ${movement}, md5(a.id::text || '${kind}')::uuid, ${minor}, 'USD' ${each}`,
    ),
  ),
  'vacuum analyze',
];

const dataDir = fs.mkdtempSync(path.join(os.tmpdir(), 'billing-bench-'));
const server = await startEmbeddedPostgres({ dataDir: path.join(dataDir, 'pg'), durable: false });
try {
  await migrate({ databaseUrl: server.url, log: createLogger('error') });
  await run(server.url);
} finally {
  await server.stop();
  fs.rmSync(dataDir, { recursive: true, force: true });
}

async function run(databaseUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  const filling = performance.now();
  await client.query(`set session_replication_role = replica`); // the rows are what the foreign keys would ask for
  for (const statement of fill) await client.query(statement);
  await client.query(`set session_replication_role = origin`);
  const { rows } = await client.query<{ n: number }>('select count(*)::int as n from ledger_posting');
  const postings = rows[0]!.n;
  console.log(`${accounts} accounts, ${postings} postings, filled in ${seconds(filling)} s`);

  const { orm } = await openForVerifying(databaseUrl);
  const least = async (): Promise<void> => {
    const { rowCount } = await client.query(
      `select account_id, transaction_id, sum(amount_minor) from ledger_posting group by account_id, transaction_id
       having sum(amount_minor) <> 0`,
    );
    if (rowCount !== 0) throw new Error(`${rowCount} movements do not sum to zero`);
  };
  const proof = async (): Promise<void> => {
    let seen = 0;
    for await (const verified of verify(orm)) {
      seen += verified.postings;
      if (verified.violations.length > 0)
        throw new Error(`unsound: ${JSON.stringify(verified.violations.slice(0, 3))}`);
    }
    if (seen !== postings) throw new Error(`${seen} postings verified, expected ${postings}`);
  };
  const spent = { least: [] as number[], proof: [] as number[] };
  for (let turn = 0; turn <= turns; turn++) {
    for (const [name, work] of Object.entries({ least, proof }) as ['least' | 'proof', () => Promise<void>][]) {
      const startedAt = performance.now();
      await work();
      if (turn > 0) spent[name].push(performance.now() - startedAt); // the first turn warms the caches of both
    }
  }
  const median = (of: number[]): number => [...of].sort((a, b) => a - b)[Math.floor(of.length / 2)]!;
  const rate = (of: number[]): string =>
    `${Math.round((1_000 * postings) / median(of)).toLocaleString('en-US')} postings/s`;
  console.log(`sums of movements alone, one statement: ${rate(spent.least)}`);
  console.log(`verify, every rule: ${rate(spent.proof)}, ${(median(spent.proof) / 1_000).toFixed(2)} s`);
  console.log(`verify takes ${(median(spent.proof) / median(spent.least)).toFixed(1)} × as long`);
  await client.end();
  await orm.close();
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1_000).toFixed(1);
}
