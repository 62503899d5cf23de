import type { Command } from 'commander';
import { accountOf, withDatabase } from './cliCore.js';
import { grouped, openProgress } from './cliProgress.js';
import { type StatementOptions, showStatement } from './cliStatement.js';
import { columns, NotAllGood, print, type Terminal } from './cliTerminal.js';
import type { Guard } from './platform/runtimeRole.js';
import type { Violation } from './wallet/ledgerCheck.js';

interface VerifyOptions {
  account?: string;
  json?: boolean;
}

export function addLedgerCommands(program: Command, terminal: Terminal): void {
  const ledger = program.command('ledger').description('the books: double entry, append-only');
  ledger
    .command('verify')
    .description('prove that the books are sound, account by account; exit code 1 when something is not')
    .option('--account <id>', 'only this account (acct_…)')
    .option('--json', 'one JSON document')
    .action((options: VerifyOptions) => runVerify(terminal, options));
  ledger
    .command('statement')
    .description("an account's balances at the start and end of a period, and every movement between")
    .requiredOption('--account <id>', 'acct_…')
    .requiredOption('--from <time>', "an instant, or a day in the account's time zone: 2026-11-01")
    .requiredOption('--to <time>', 'the first instant, or day, that is not in it any more')
    .option('--json', 'one JSON document')
    .action((options: StatementOptions) => showStatement(terminal, options));
}

async function runVerify(terminal: Terminal, { account, json }: VerifyOptions): Promise<void> {
  const sound = await withDatabase(async ({ database, signal }) => {
    const { openForVerifying, verify } = await import('./verify.js');
    const { orm, guard } = await openForVerifying(database.url);
    try {
      const accountId = account === undefined ? undefined : await accountOf({ orm }, account);
      const [{ rowsOf, sql }, present] = await Promise.all([import('./platform/sql.js'), presenter()]);
      const [all] = await rowsOf(orm.em.fork(), sql<{ count: number }>`select count(*)::int as count from account`);
      const total = accountId === undefined ? all!.count : 1;
      const progress = await openProgress(terminal, total);
      const startedAt = performance.now();
      const violations: Violation[] = [];
      let [accounts, postings] = [0, 0];
      try {
        for await (const verified of verify(orm, { accountId })) {
          accounts += verified.accounts;
          postings += verified.postings;
          violations.push(...verified.violations);
          const text = `${grouped(postings)} postings, ${grouped(violations.length)} violations`;
          const line = `${grouped(accounts)} of ${grouped(total)} accounts: ${text}`;
          progress.show({ done: accounts, counted: postings, text, line });
          if (signal.aborted) break;
        }
      } finally {
        progress.close();
      }
      const seconds = (performance.now() - startedAt) / 1_000;
      const summary = {
        accounts,
        postings,
        seconds,
        violations: violations.map(present),
        guard,
        complete: !signal.aborted,
      };
      print(terminal, { json, document: documentOf(summary), text: textOf(summary) });
      return violations.length === 0;
    } finally {
      await orm.close();
    }
  });
  if (!sound) throw new NotAllGood();
}

const presenter = async () => {
  const { publicId } = await import('./platform/ids.js');
  return ({ accountId, ...violation }: Violation) => ({ account: publicId('account', accountId), ...violation });
};

interface Summary {
  accounts: number;
  postings: number;
  seconds: number;
  violations: ReturnType<Awaited<ReturnType<typeof presenter>>>[];
  guard: Guard;
  /** False when a signal ended it early. */
  complete: boolean;
}

const rateOf = ({ postings, seconds }: Summary): number => Math.round(postings / Math.max(seconds, 0.001));

const documentOf = (summary: Summary) => ({
  sound: summary.complete && summary.violations.length === 0,
  complete: summary.complete,
  accounts: summary.accounts,
  postings: summary.postings,
  seconds: Number(summary.seconds.toFixed(3)),
  postingsPerSecond: rateOf(summary),
  appendOnly: { guarded: summary.guard.inForce, role: summary.guard.role, reason: summary.guard.reason ?? null },
  violations: summary.violations,
});

function textOf(summary: Summary): string {
  const { accounts, postings, seconds, violations, guard, complete } = summary;
  const rows = violations.map(({ account, rule, subject, expected, found }) => [
    account,
    rule,
    subject,
    expected,
    found,
  ]);
  const verified = `${grouped(accounts)} accounts, ${grouped(postings)} postings in ${seconds.toFixed(1)} s (${grouped(rateOf(summary))} postings/s)`;
  const outcome =
    violations.length > 0 ? `${grouped(violations.length)} violations` : complete ? 'all sound' : 'sound so far';
  return [
    ...(rows.length > 0 ? [columns([['ACCOUNT', 'RULE', 'OF', 'EXPECTED', 'FOUND'], ...rows]), ''] : []),
    `${verified}: ${outcome}.`,
    ...(complete ? [] : ['Interrupted before the end.']),
    guard.inForce
      ? `The database lets the product (as ${guard.role}) add to the ledger, but not change it.`
      : `The database would let the product (as ${guard.role}) change the ledger: ${guard.reason}.`,
  ].join('\n');
}
