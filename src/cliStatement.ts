import { accountOf, withCore } from './cliCore.js';
import { columns, print, type Terminal } from './cliTerminal.js';
import { BillingError } from './domain/errors.js';
import type { LedgerMovement } from './wallet/ledgerStatement.js';

export interface StatementOptions {
  account: string;
  from: string;
  to: string;
  json?: boolean;
}

/** Movements at a time. */
const pageOf = 100;

/** `billing ledger statement` */
export async function showStatement(
  terminal: Terminal,
  { account, json, ...options }: StatementOptions,
): Promise<void> {
  await withCore(async ({ deps }, { signal }) => {
    const [
      { checkPeriod, ledgerMovements, ledgerStatement },
      { accountById },
      { publicId },
      { documentIdOf },
      present,
    ] = await Promise.all([
      import('./wallet/ledgerStatement.js'),
      import('./account/createAccount.js'),
      import('./platform/ids.js'),
      import('./wallet/movementDocuments.js'),
      amounts(),
    ]);
    const em = deps.db.orm.em.fork();
    const accountId = await accountOf(deps.db, account);
    const { timeZone } = await accountById(em, accountId);
    const [start, end] = await Promise.all([timeOf(options.from, timeZone), timeOf(options.to, timeZone)]);
    const period = { accountId, start, end };
    checkPeriod(period);
    const accounts = (await ledgerStatement(em, period)).map(({ kind, currency, ...line }) => ({
      account: kind,
      currency,
      opening: present(line.openingMinor, currency),
      debits: present(line.debitsMinor, currency),
      credits: present(line.creditsMinor, currency),
      closing: present(line.closingMinor, currency),
    }));
    const movements = [];
    for (let after: string | undefined; !signal.aborted; ) {
      const { nodes, pageInfo } = await ledgerMovements(em, period, { first: pageOf, after });
      movements.push(
        ...nodes.map(({ id, type, currency, referenceId, createdAt, postings }: LedgerMovement) => ({
          id: publicId('ledgerMovement', id),
          createdAt: createdAt.toISOString(),
          type,
          reference: documentIdOf({ type, referenceId }),
          currency,
          postings: postings.map(({ kind, amountMinor }) => ({
            account: kind,
            amount: present(amountMinor, currency),
          })),
        })),
      );
      if (!pageInfo.hasNextPage) break;
      after = pageInfo.endCursor;
    }
    const text = [
      `${account} from ${start.toISOString()} to ${end.toISOString()}`,
      columns([
        ['ACCOUNT', 'CURRENCY', 'OPENING', 'DEBITS', 'CREDITS', 'CLOSING'],
        ...accounts.map((line) => [line.account, line.currency, line.opening, line.debits, line.credits, line.closing]),
      ]),
      movements.length === 0
        ? 'No movements.'
        : columns([
            ['TIME', 'MOVEMENT', 'OF', 'POSTINGS'],
            ...movements.map(({ createdAt, type, reference, postings }) => [
              ...[createdAt, type, reference ?? ''],
              postings.map((posting) => `${posting.account} ${posting.amount}`).join(', '),
            ]),
          ]),
    ].join('\n\n');
    const document = { account, from: start.toISOString(), to: end.toISOString(), accounts, movements };
    print(terminal, { json, document, text });
  });
}

async function amounts() {
  const { majorUnits } = await import('./domain/money.js');
  return (minorUnits: bigint, currency: string): string => majorUnits({ minorUnits, currency });
}

/** An RFC 3339 instant, or the start of a day in the account's time zone. */
async function timeOf(text: string, timeZone: string): Promise<Date> {
  const [{ startOfDay }, { parseInstant }] = await Promise.all([
    import('./domain/period.js'),
    import('./platform/scalars.js'),
  ]);
  const at = startOfDay(text, timeZone) ?? parseInstant(text);
  if (at === undefined)
    throw new BillingError('INVALID', `'${text.slice(0, 40)}' is no time: expected 2026-11-01 or 2026-11-01T00:00:00Z`);
  return at;
}
