import { type Command, InvalidArgumentError, Option } from 'commander';
import { withCore } from './cliCore.js';
import { columns, NotAllGood, print, type Terminal } from './cliTerminal.js';
import type { Migration } from './subscription/migrateSubscribers.js';

interface MigrateOptions {
  from?: number[];
  timing: 'period-end' | 'immediate';
  dryRun?: boolean;
  json?: boolean;
}

/** How often a long migration says on stderr how far it is. */
const reportEvery = 100;

const addVersion = (text: string, before: number[] = []): number[] => {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('Expected the number of a version.');
  return [...before, Number(text)];
};

/** `billing plan migrate`, beside the catalog's own commands. */
export function addMigrateCommand(program: Command, terminal: Terminal): void {
  program.commands
    .find((command) => command.name() === 'plan')!
    .command('migrate')
    .description('move the subscribers of older versions of a plan to the newest; may be stopped and repeated')
    .argument('<code>', "the plan's code")
    .option('--from <version>', 'only subscribers of this version; may be given more than once', addVersion)
    .addOption(
      new Option('--timing <when>', "at each period's end, or at once")
        .choices(['period-end', 'immediate'])
        .default('period-end'),
    )
    .option('--dry-run', 'only say what would happen')
    .option('--json', 'one JSON document')
    .action((code: string, options: MigrateOptions) => runMigration(terminal, code, options));
}

async function runMigration(
  terminal: Terminal,
  planCode: string,
  { from, timing, dryRun = false, json }: MigrateOptions,
): Promise<void> {
  const failed = await withCore(async ({ deps }, { signal }) => {
    const [{ migrateSubscribers }, { operatorAccountId }, { systemActor }, present] = await Promise.all([
      import('./subscription/migrateSubscribers.js'),
      import('./account/apiKeys.js'),
      import('./platform/actor.js'),
      presenter(),
    ]);
    const subscribers: ReturnType<typeof present>[] = [];
    const found = migrateSubscribers(deps, systemActor(operatorAccountId), {
      planCode,
      fromVersions: from,
      timing: timing === 'immediate' ? 'IMMEDIATE' : 'PERIOD_END',
      dryRun,
    });
    for await (const migration of found) {
      subscribers.push(present(migration));
      if (subscribers.length % reportEvery === 0) terminal.stderr.write(`${subscribers.length} subscribers\n`);
      if (signal.aborted) break;
    }
    print(terminal, { json, document: { planCode, dryRun, subscribers }, text: textOf(subscribers, dryRun) });
    return subscribers.some(({ outcome }) => outcome === 'failed');
  });
  if (failed) throw new NotAllGood();
}

/** Amounts in major units, ids as everywhere outside. */
async function presenter() {
  const [{ majorUnits }, { publicId }] = await Promise.all([import('./domain/money.js'), import('./platform/ids.js')]);
  return ({ accountId, subscriptionId, fromVersion, toVersion, currency, ...of }: Migration) => {
    const amount = (minorUnits: bigint): string => majorUnits({ minorUnits, currency });
    return {
      accountId: publicId('account', accountId),
      subscriptionId: publicId('subscription', subscriptionId),
      fromVersion,
      toVersion,
      currency,
      oldFee: amount(of.oldFeeMinor),
      newFee: amount(of.newFeeMinor),
      effectiveAt: of.effectiveAt?.toISOString() ?? null,
      dueNow: amount(of.dueNowMinor),
      outcome: of.outcome.toLowerCase(),
      reason: of.reason,
    };
  };
}

function textOf(subscribers: readonly ReturnType<Awaited<ReturnType<typeof presenter>>>[], dryRun: boolean): string {
  if (subscribers.length === 0) return 'Nobody is on an older version.';
  const rows = subscribers.map((of) => [
    of.accountId,
    `v${of.fromVersion} → v${of.toVersion}`,
    `${of.oldFee} → ${of.newFee} ${of.currency}`,
    of.effectiveAt ?? '',
    of.dueNow,
    of.reason === null ? of.outcome : `${of.outcome}: ${of.reason}`,
  ]);
  const counts = Map.groupBy(subscribers, ({ outcome }) => outcome);
  const summary = [...counts].map(([outcome, found]) => `${found.length} ${outcome}`).join(', ');
  const heading = ['ACCOUNT', 'VERSION', 'FEE', 'EFFECTIVE', 'DUE NOW', 'OUTCOME'];
  return `${columns([heading, ...rows])}\n\n${summary}${dryRun ? ' (dry run)' : ''}.`;
}
