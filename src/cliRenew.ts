import type { Command } from 'commander';
import { withCore } from './cliCore.js';
import { columns, print, type Terminal, wholeNumber } from './cliTerminal.js';
import type { Deps } from './platform/deps.js';
import type { DueRenewal } from './subscription/renewDue.js';

interface RenewOptions {
  dryRun?: boolean;
  limit?: number;
  json?: boolean;
}

export function addRenewCommand(program: Command, terminal: Terminal): void {
  program
    .command('renew')
    .description('renew what is due now, as the server does by itself; may be interrupted and repeated')
    .option('--dry-run', 'only say what would be renewed, and for how much')
    .option('--limit <count>', 'at most so many subscriptions', wholeNumber({ min: 1, max: Number.MAX_SAFE_INTEGER }))
    .option('--json', 'one JSON document')
    .action((options: RenewOptions) => runRenew(terminal, options));
}

const runRenew = (terminal: Terminal, { dryRun = false, limit = Number.MAX_SAFE_INTEGER, json }: RenewOptions) =>
  withCore(({ deps }, { signal }) =>
    dryRun ? showDue(deps, { terminal, limit, json, signal }) : renew(deps, { terminal, limit, json, signal }),
  );

interface Asked {
  terminal: Terminal;
  limit: number;
  json: boolean | undefined;
  signal: AbortSignal;
}

async function renew(deps: Deps, { terminal, limit, json, signal }: Asked): Promise<void> {
  const [{ renewDue }, totals] = await Promise.all([import('./subscription/renewDue.js'), sums()]);
  const startedAt = performance.now();
  const seconds = (): number => (performance.now() - startedAt) / 1_000;
  let reported = 0;
  for await (const renewed of renewDue(deps, { limit })) {
    for (const renewal of renewed) totals.add(renewal);
    if (totals.count() - reported >= reportEvery) {
      reported = totals.count();
      terminal.stderr.write(`${reported} renewed (${Math.round(reported / seconds())}/s)\n`);
    }
    if (signal.aborted) break;
  }
  const document = {
    dryRun: false,
    renewed: totals.count(),
    totals: totals.amounts(),
    seconds: Number(seconds().toFixed(3)),
  };
  const text = `${totals.count()} renewed for ${totals.text()} in ${seconds().toFixed(1)} s`;
  print(terminal, { json, document, text });
}

/** How often a long run says on stderr how far it is. */
const reportEvery = 500;

async function showDue(deps: Deps, { terminal, limit, json, signal }: Asked): Promise<void> {
  const [{ previewDue }, totals, present] = await Promise.all([
    import('./subscription/renewDue.js'),
    sums(),
    presenter(),
  ]);
  const renewals: ReturnType<typeof present>[] = [];
  for await (const due of previewDue(deps, { limit })) {
    for (const renewal of due) totals.add(renewal);
    renewals.push(...due.map(present));
    if (signal.aborted) break;
  }
  const rows = renewals.map((r) => [
    r.subscriptionId,
    r.accountId,
    r.planCode,
    `${r.periodStart} – ${r.periodEnd}`,
    `${r.amount} ${r.currency}`,
    r.dueAt,
  ]);
  const table = columns([['SUBSCRIPTION', 'ACCOUNT', 'PLAN', 'PERIOD', 'AMOUNT', 'DUE'], ...rows]);
  const text =
    rows.length === 0
      ? 'Nothing is due.'
      : `${table}\n\n${rows.length} would be renewed for ${totals.text()} (dry run).`;
  print(terminal, { json, document: { dryRun: true, renewals, totals: totals.amounts() }, text });
}

/** Counts renewals, and their totals in major units by currency. */
async function sums() {
  const { majorUnits } = await import('./domain/money.js');
  const minor = new Map<string, bigint>();
  let count = 0;
  const amounts = () =>
    [...minor]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([currency, minorUnits]) => ({ currency, amount: majorUnits({ minorUnits, currency }) }));
  return {
    add: ({ currency, totalMinor }: { currency: string; totalMinor: bigint }): void => {
      count++;
      minor.set(currency, (minor.get(currency) ?? 0n) + totalMinor);
    },
    count: () => count,
    amounts,
    text: () =>
      amounts()
        .map(({ currency, amount }) => `${amount} ${currency}`)
        .join(', ') || 'nothing',
  };
}

async function presenter() {
  const [{ majorUnits }, { publicId }] = await Promise.all([import('./domain/money.js'), import('./platform/ids.js')]);
  return ({ accountId, subscriptionId, planCode, period, currency, totalMinor, dueAt }: DueRenewal) => ({
    subscriptionId: publicId('subscription', subscriptionId),
    accountId: publicId('account', accountId),
    planCode,
    periodStart: period.start.toISOString(),
    periodEnd: period.end.toISOString(),
    amount: majorUnits({ minorUnits: totalMinor, currency }),
    currency,
    dueAt: dueAt.toISOString(),
  });
}
