import type { Command } from 'commander';
import type { CatalogChange } from './catalog/publishCatalog.js';
import { withCore } from './cliCore.js';
import { columns, print, type Terminal } from './cliTerminal.js';
import { BillingError } from './domain/errors.js';

interface PublishOptions {
  dryRun?: boolean;
  json?: boolean;
}

export function addPlanCommands(program: Command, terminal: Terminal): void {
  const plan = program
    .command('plan')
    .description('the catalog: metrics, plans and coupons, published from a YAML file');
  plan
    .command('publish')
    .description(
      'make new metrics and coupons, and a new version of every plan that changed; running subscriptions keep theirs',
    )
    .argument('<file>', "a YAML file, '-' for stdin; see: billing plan example")
    .option('--dry-run', 'only say what would change')
    .option('--json', 'one JSON document')
    .action((file: string, options: PublishOptions) => publishPlans(terminal, file, options));
  plan
    .command('list')
    .description('the plans that can be subscribed to')
    .option('--json', 'one JSON document')
    .action((options: { json?: boolean }) => listPlans(terminal, options));
  plan
    .command('example')
    .description('print a catalog to start from, and what else one can say, as comments')
    .action(async () => {
      const { exampleCatalogYaml } = await import('./catalog/exampleCatalog.js');
      terminal.stdout.write(exampleCatalogYaml);
    });
}

async function publishPlans(terminal: Terminal, file: string, { dryRun = false, json }: PublishOptions): Promise<void> {
  const { parseCatalog } = await import('./catalog/catalogFile.js');
  const catalog = parseCatalog(await readText(terminal, file));
  await withCore(async ({ deps }) => {
    const { publishCatalog } = await import('./catalog/publishCatalog.js');
    const changes = await publishCatalog(deps, catalog, { dryRun });
    const made = changes.filter((change) => markOf(change) !== '=').length;
    const summary =
      made === 0
        ? 'Nothing to publish: all is as it was.'
        : dryRun
          ? `${made} would be published (dry run).`
          : `${made} published.`;
    print(terminal, { json, document: { dryRun, changes }, text: `${diffOf(changes)}\n\n${summary}` });
  });
}

async function readText({ stdin }: Terminal, file: string): Promise<string> {
  if (file !== '-') return (await import('node:fs/promises')).readFile(file, 'utf8');
  const chunks = await Array.fromAsync(stdin, (chunk) => Buffer.from(chunk));
  if (chunks.length === 0) throw new BillingError('INVALID', 'stdin is empty, expected a catalog in YAML');
  return Buffer.concat(chunks).toString('utf8');
}

/** `+` created, `~` changed, `=` unchanged; a metric's new name makes no new version, but is a change. */
const markOf = ({ action, differences }: CatalogChange): '+' | '~' | '=' =>
  action === 'created' ? '+' : action === 'unchanged' && differences.length === 0 ? '=' : '~';

/** One line for each metric, plan and coupon, the differences indented below theirs. */
function diffOf(changes: readonly CatalogChange[]): string {
  const heads = columns(
    changes.map((change) => {
      const version = change.version === undefined ? '' : `v${change.version}`;
      const mark = markOf(change);
      const action = mark === '~' && change.action === 'unchanged' ? 'changed' : change.action;
      return [mark, change.kind, change.code, version, action];
    }),
  ).split('\n');
  return changes.flatMap(({ differences }, i) => [heads[i]!, ...differences.map((line) => `     ${line}`)]).join('\n');
}

async function listPlans(terminal: Terminal, { json }: { json?: boolean }): Promise<void> {
  await withCore(async ({ deps }) => {
    const plans = await readPlans(deps.db.orm.em.fork());
    const rows = plans.map(({ code, version, name, price, currency, interval, intervalCount, features }) => [
      code,
      `v${version}`,
      name,
      `${price} ${currency} / ${intervalCount === 1 ? '' : `${intervalCount} `}${interval.toLowerCase()}`,
      features.map((feature) => `${feature.code} ${feature.limit ?? '∞'}`).join(', '),
    ]);
    const text =
      rows.length === 0
        ? 'No plans yet. Start with: billing plan example > plans.yaml && billing plan publish plans.yaml'
        : columns([['CODE', 'VERSION', 'NAME', 'PRICE', 'FEATURES'], ...rows]);
    print(terminal, { json, document: { plans }, text });
  });
}

type Entities = Parameters<typeof import('./catalog/plans.js')['currentPlans']>[0];

/** The current version of every plan, in the catalog's order. Prices in major units, limits as exact decimals. */
async function readPlans(em: Entities) {
  const [{ currentPlans, featuresOf }, { majorUnits }, { Decimal }] = await Promise.all([
    import('./catalog/plans.js'),
    import('./domain/money.js'),
    import('./domain/decimal.js'),
  ]);
  const exact = (text: string | null | undefined): string | null => (text == null ? null : new Decimal(text).toFixed());
  const plans = [];
  for (let after: string | undefined, more = true; more; after = plans.at(-1)?.code) {
    const { nodes, pageInfo } = await currentPlans(em, { first: 100, after });
    more = pageInfo.hasNextPage;
    for (const { id, priceMinor, currency, minimumSpendMinor, ...node } of nodes) {
      const { code, version, name, interval, intervalCount, trialDays, anchor } = node;
      const features = (await featuresOf(em, id)).map((feature) => ({
        code: feature.code,
        limit: exact(feature.limit),
        overage: feature.overage,
        charge: feature.charge ?? null,
      }));
      const price = majorUnits({ minorUnits: priceMinor, currency });
      const minimumSpend = minimumSpendMinor == null ? null : majorUnits({ minorUnits: minimumSpendMinor, currency });
      plans.push({
        code,
        version,
        name,
        price,
        currency,
        interval,
        intervalCount,
        trialDays,
        anchor,
        minimumSpend,
        features,
      });
    }
  }
  return plans;
}
