import type { EntityManager } from '@mikro-orm/postgresql';
import { majorUnits } from '../domain/money.js';
import { type IdKind, idPrefixes, publicId } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { ledgerAccountKinds } from './wallet.entity.js';

/**
 * Asks of many accounts at once what must hold of their books at any time; answers with what doesn't. A check is a query that may
 * read `movement` (see below) beside the tables.
 */
export type LedgerCheck = (accountIds: readonly string[]) => ReturnType<typeof sql<Finding>>;

/** A row of a check. Amounts are minor units as text, and then `currency` says of what. */
export interface Finding {
  account_id: string;
  /** The rule that is broken, in words with underscores. */
  rule: string;
  /** What is wrong: a kind of id with `subject_id` its uuid, else a name as it is. */
  subject: string;
  subject_id: string | null;
  currency: string | null;
  expected: string;
  found: string;
}

/** Something that doesn't hold, for people. */
export interface Violation {
  /** The uuid. */
  accountId: string;
  rule: string;
  /** A public id, an account of the chart, or a series of numbers. */
  subject: string;
  expected: string;
  found: string;
}

/**
 * Every movement of these accounts with the sum of its postings, in all and for each account of the chart. Nothing else reads
 * the postings: they are read once, whatever the number of checks. A movement without postings, and postings without a movement
 * (`type` is null then), are rows as well; one with postings in two currencies is two.
 */
const movement = (accountIds: readonly string[]) => sql`
  select coalesce(t.account_id, p.account_id) as account_id, coalesce(t.id, p.transaction_id) as id, t.type, t.reference_id,
    t.currency, coalesce(p.currency, t.currency) as posted_currency, t.wallet_amount_minor, t.wallet_balance_after_minor,
    coalesce(p.legs, 0) as legs, coalesce(p.sum, 0) as sum, coalesce(p.of_wallet, false) as of_wallet, coalesce(p.astray, false) as astray,
    ${sql.join(ledgerAccountKinds.map((kind) => sql`coalesce(p.${sql.id(kind)}, 0) as ${sql.id(kind)}`))}
  from (
    select * from ledger_transaction where account_id = any(${accountIds}::uuid[])
  ) t full join (
    select leg.account_id, leg.transaction_id, leg.currency, count(*) as legs, sum(leg.amount_minor) as sum,
      bool_or(a.kind = 'wallet') as of_wallet, bool_or(a.id is null or a.currency <> leg.currency) as astray,
      ${sql.join(ledgerAccountKinds.map((kind) => sql`sum(leg.amount_minor) filter (where a.kind = ${sql.lit(kind)}) as ${sql.id(kind)}`))}
    from ledger_posting leg left join ledger_account a on a.account_id = leg.account_id and a.id = leg.ledger_account_id
    where leg.account_id = any(${accountIds}::uuid[])
    group by leg.account_id, leg.transaction_id, leg.currency
  ) p on p.account_id = t.account_id and p.transaction_id = t.id`;

/** What is broken of the books of these accounts, by one statement, so in one snapshot; empty when all is sound. */
export async function violationsOf(
  em: EntityManager,
  checks: readonly LedgerCheck[],
  accountIds: readonly string[],
): Promise<Violation[]> {
  const findings = await rowsOf(
    em,
    sql<Finding>`with movement as materialized (${movement(accountIds)})
      ${sql.join(
        checks.map((check) => sql`select * from (${check(accountIds)}) checked`),
        sql` union all `,
      )}`,
  );
  return findings.map(({ account_id: accountId, rule, subject, subject_id: id, currency, expected, found }) => {
    const said = (text: string): string =>
      currency !== null && /^-?\d+$/.test(text)
        ? `${majorUnits({ minorUnits: BigInt(text), currency })} ${currency}`
        : text;
    return {
      accountId,
      rule,
      subject: id !== null && subject in idPrefixes ? publicId(subject as IdKind, id) : subject,
      expected: said(expected),
      found: said(found),
    };
  });
}

/** A violation on one line. */
export const textOfViolation = ({ rule, subject, expected, found }: Violation): string =>
  `${rule}: ${subject}: expected ${expected}, found ${found}`;
