import { sql } from '../../src/platform/sql.js';
import type { TestAccount, World } from './world.js';

/**
 * All that an account's life has left behind: invoices, lines, credit notes, payments, ledger, counters, events, grants and holds, one
 * text each, in order. Ids and the prefix of its numbers, which no two accounts share, are replaced by their order of appearance.
 */
export async function biographyOf(world: World, { id: accountId }: TestAccount): Promise<string[]> {
  const rows = await world.rows(
    sql<{ row: string }>`
      select row from (
        select 1 as part, row_number() over (order by created_at, id) as place, (to_jsonb(i) - 'id')::text as row from invoice i where account_id = ${accountId}
        union all
        select 2, row_number() over (order by i.created_at, i.id, l.position), (to_jsonb(l) - 'id' - 'invoice_id')::text
          from invoice_line l join invoice i on i.account_id = l.account_id and i.id = l.invoice_id where l.account_id = ${accountId}
        union all
        select 3, row_number() over (order by number), (to_jsonb(n) - 'id')::text from credit_note n where account_id = ${accountId}
        union all
        select 4, row_number() over (order by id), jsonb_build_array(purpose, status, amount_minor, decline_code, created_at)::text
          from payment where account_id = ${accountId}
        union all
        select 5, row_number() over (order by t.id, a.kind, p.amount_minor), jsonb_build_array(t.type, t.created_at, a.kind, p.amount_minor)::text
          from ledger_transaction t join ledger_posting p on p.account_id = t.account_id and p.transaction_id = t.id
          join ledger_account a on a.account_id = p.account_id and a.id = p.ledger_account_id where t.account_id = ${accountId}
        union all
        select 6, row_number() over (order by period_start, period_end, metric_code, id), jsonb_build_array(metric_code, period_start, period_end, used, event_count)::text
          from usage_window where account_id = ${accountId}
        union all
        select 8, row_number() over (order by id), (to_jsonb(g) - 'id' - 'reference_id')::text from wallet_grant g where account_id = ${accountId}
        union all
        select 9, row_number() over (order by id), (to_jsonb(h) - 'id')::text from wallet_hold h where account_id = ${accountId}
        union all
        select 7, row_number() over (order by seq), jsonb_build_array(type, occurred_at, data)::text from event where account_id = ${accountId}
      ) life order by part, place`,
  );
  const names = new Map<string, string>();
  const named = (id: string): string => {
    if (!names.has(id)) names.set(id, `#${names.size}`);
    return names.get(id)!;
  };
  return rows.map(({ row }) =>
    row
      .replace(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[a-z]{2,4}_[0-9a-hjkmnp-tv-z]{26}\b/g, named)
      .replace(/"[A-Z0-9]+(-CN)?-(\d{6})"/g, '"$1-$2"'),
  );
}
