import { type Command, InvalidArgumentError, Option } from 'commander';
import { accountOf, withCore } from './cliCore.js';
import { columns, parseDuration, print, type Terminal, wholeNumber } from './cliTerminal.js';
import type { Decimal } from './domain/decimal.js';
import { BillingError } from './domain/errors.js';

interface AccountOptions {
  name: string;
  currency: string;
  timeZone: string;
  json?: boolean;
}

interface SettingsOptions {
  graceHours?: number;
  retryDays?: readonly number[];
  dunningEnd?: DunningEnd;
  tax?: string[];
  taxExempt?: boolean;
  json?: boolean;
}

type DunningEnd = 'cancel' | 'past_due' | 'pause';

interface KeyOptions {
  account?: string;
  operator?: boolean;
  scopes: string[];
  /** Milliseconds. */
  expiresIn?: number;
  name?: string;
  json?: boolean;
}

export function addAccountCommands(program: Command, terminal: Terminal): void {
  const account = program
    .command('account')
    .description('customers, each with its own subscription, invoices and wallet');
  account
    .command('create')
    .description('open an account')
    .requiredOption('--name <name>', 'its name, as on invoices')
    .option('--currency <code>', 'ISO 4217; all of its money is in it', 'USD')
    .option('--time-zone <zone>', 'IANA name; calendar days are counted in it', 'UTC')
    .option('--json', 'one JSON document')
    .action((options: AccountOptions) => openAccount(terminal, options));
  account
    .command('update')
    .description('set how an account is billed; what is left out stays as it is')
    .argument('<id>', 'acct_…')
    .option(
      '--grace-hours <hours>',
      "0 to 72: how long a renewal's invoice waits for late usage",
      wholeNumber({ min: 0, max: 72 }),
    )
    .option('--retry-days <days>', 'when a failed payment is tried again, e.g. 1,3,5; none: never', parseRetryDays)
    .addOption(
      new Option('--dunning-end <what>', 'the subscription, when collecting gives up').choices([
        'cancel',
        'past_due',
        'pause',
      ]),
    )
    .option('--tax <rates...>', 'all of them, e.g. "VAT 19%" or "VAT 19% inclusive"; none: no tax')
    .option('--tax-exempt', 'charge no tax')
    .option('--no-tax-exempt', 'charge tax again')
    .option('--json', 'one JSON document')
    .action((id: string, options: SettingsOptions) => setBilling(terminal, id, options));
  account
    .command('list')
    .description('all accounts, oldest first')
    .option('--json', 'one JSON document')
    .action((options: { json?: boolean }) => listAccounts(terminal, options));
}

export function addKeyCommands(program: Command, terminal: Terminal): void {
  const key = program.command('key').description('API keys: the bearer tokens of GraphQL and REST');
  key
    .command('create')
    .description('make a key; its token is shown once')
    .option('--account <id>', 'the account it acts on (acct_…)')
    .option('--operator', 'a key that belongs to no account and names one per request')
    .option(
      '--scopes <scopes...>',
      'RESOURCE:ACTION, separated by commas or spaces, e.g. usage:write,usage:correct,invoices:read',
      ['*:*'],
    )
    .option('--expires-in <time>', '30s, 15m, 1h or 7d; without it, never', parseDuration)
    .option('--name <name>', 'a name to know it by')
    .option('--json', 'one JSON document')
    .action((options: KeyOptions) => makeKey(terminal, options));
  key
    .command('revoke')
    .description('end a key at once')
    .argument('<id>', 'key_…')
    .option('--json', 'one JSON document')
    .action((id: string, options: { json?: boolean }) => endKey(terminal, id, options));
}

async function openAccount(terminal: Terminal, { json, ...input }: AccountOptions): Promise<void> {
  await withCore(async ({ deps }) => {
    const { createAccount } = await import('./account/createAccount.js');
    const document = await presentAccount(await createAccount(deps, input));
    const { id, name, currency, timeZone } = document;
    const text = `${id}  ${name}  ${currency}  ${timeZone}\n\nMake a token for it:\n  billing key create --account ${id}`;
    print(terminal, { json, document, text });
  });
}

async function setBilling(
  terminal: Terminal,
  id: string,
  { json, tax, graceHours, retryDays, ...options }: SettingsOptions,
): Promise<void> {
  await withCore(async (core) => {
    const [{ updateBillingSettings }, { billingSettings }, { accountById }, { systemActor }, { parseDecimal }] =
      await Promise.all([
        import('./account/updateBillingSettings.js'),
        import('./account/billingSettings.js'),
        import('./account/createAccount.js'),
        import('./platform/actor.js'),
        import('./domain/decimal.js'),
      ]);
    const accountId = await accountOf(core.deps.db, id);
    const taxRates = tax?.filter((text) => text !== 'none').map((text) => parseTaxRate(text, parseDecimal));
    await updateBillingSettings(core.deps, systemActor(accountId), {
      ...options,
      gracePeriodHours: graceHours,
      retryAfterDays: retryDays,
      taxRates,
    });
    const em = core.deps.db.orm.em.fork();
    const settings = await billingSettings(em, await accountById(em, accountId));
    const rates = settings.taxRates.map((rate) => ({ ...rate, percent: rate.percent.toFixed() }));
    const text = columns([
      ['grace period', `${settings.gracePeriodHours} h`],
      ['retries after', settings.retryAfterDays.length > 0 ? `${settings.retryAfterDays.join(', ')} days` : 'none'],
      ['dunning end', settings.dunningEnd],
      ['tax exempt', settings.taxExempt ? 'yes' : 'no'],
      [
        'tax',
        rates.map((rate) => `${rate.name} ${rate.percent}%${rate.inclusive ? ' inclusive' : ''}`).join(', ') || 'none',
      ],
    ]);
    print(terminal, { json, document: { id, ...settings, taxRates: rates }, text });
  });
}

/** `VAT 19%`, `VAT 19% inclusive` */
function parseTaxRate(
  text: string,
  parseDecimal: (text: string) => Decimal | undefined,
): { name: string; percent: Decimal; inclusive: boolean } {
  const [, name, number, inclusive] = /^(.+?)\s+(\d+(?:\.\d+)?)\s*%(\s+inclusive)?$/.exec(text.trim()) ?? [];
  const percent = parseDecimal(number ?? '');
  if (!percent)
    throw new BillingError('INVALID', `'${text}' is not a tax rate: expected "VAT 19%" or "VAT 19% inclusive"`);
  return { name: name!, percent, inclusive: inclusive !== undefined };
}

/** `1,3,5`; `none` for no retries. What days may be is the settings' to say. */
function parseRetryDays(text: string): readonly number[] {
  if (text === 'none') return [];
  if (!/^\d+(,\d+)*$/.test(text)) throw new InvalidArgumentError('Expected days such as 1,3,5, or none.');
  return text.split(',').map(Number);
}

async function listAccounts(terminal: Terminal, { json }: { json?: boolean }): Promise<void> {
  await withCore(async ({ deps }) => {
    const { Account } = await import('./account/account.entity.js');
    const found = await deps.db.orm.em.fork().find(Account, {}, { orderBy: { id: 'asc' }, disableIdentityMap: true });
    const accounts = await Promise.all(found.map(presentAccount));
    const rows = accounts.map(({ id, name, currency, timeZone, createdAt }) => [
      id,
      name,
      currency,
      timeZone,
      createdAt,
    ]);
    const text =
      rows.length === 0
        ? 'No accounts yet. Open one with: billing account create --name NAME'
        : columns([['ID', 'NAME', 'CURRENCY', 'TIME ZONE', 'CREATED'], ...rows]);
    print(terminal, { json, document: { accounts }, text });
  });
}

async function presentAccount(account: {
  id: string;
  name: string;
  currency: string;
  timeZone: string;
  createdAt: Date;
}) {
  const { publicId } = await import('./platform/ids.js');
  const { name, currency, timeZone } = account;
  return { id: publicId('account', account.id), name, currency, timeZone, createdAt: account.createdAt.toISOString() };
}

async function makeKey(
  terminal: Terminal,
  { json, account, operator = false, scopes: given, expiresIn, name }: KeyOptions,
): Promise<void> {
  const scopes = given.flatMap((text) => text.split(/[\s,]+/)).filter(Boolean);
  if ((account === undefined) !== operator)
    throw new BillingError('INVALID', 'Expected either --account ID or --operator');
  if (scopes.length === 0) throw new BillingError('INVALID', "--scopes names no scope; '*:*' allows everything");
  await withCore(async (core) => {
    const [{ createKey }, { publicId }] = await Promise.all([
      import('./account/apiKeys.js'),
      import('./platform/ids.js'),
    ]);
    const accountId = account === undefined ? undefined : await accountOf(core.deps.db, account);
    const { key, token } = await createKey(core.deps, { accountId, scopes, name, expiresInMs: expiresIn });
    const id = publicId('apiKey', key.id);
    const expiresAt = key.expiresAt?.toISOString() ?? null;
    const text = columns([
      ['token', `${token}   (shown only now)`],
      ['id', id],
      ['scopes', key.scopes.join(' ')],
      ['expires', expiresAt ?? 'never'],
    ]);
    print(terminal, { json, document: { id, token, name: key.name, scopes: key.scopes, expiresAt }, text });
  });
}

async function endKey(terminal: Terminal, id: string, { json }: { json?: boolean }): Promise<void> {
  await withCore(async ({ deps }) => {
    const { revokeKey } = await import('./account/apiKeys.js');
    await revokeKey(deps, { keyId: id });
    print(terminal, { json, document: { id, revoked: true }, text: `${id} is revoked` });
  });
}
