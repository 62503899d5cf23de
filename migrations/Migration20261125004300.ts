import { Migration } from '@mikro-orm/migrations';

/**
 * Which invoice billed a window, and what its usage had to come to: a correction is measured by both. What is known of earlier
 * invoices is written down; the minimum of one whose usage had reached it stands nowhere.
 */
export class Migration20261125004300 extends Migration {
  override name = 'Migration20261125004300';

  override up(): void {
    this.addSql(`alter table "invoice" add "minimum_spend" jsonb null;`);
    this.addSql(`alter table "usage_window" add "invoice_id" uuid null;`);
    this.addSql(
      `create index "usage_window_account_id_invoice_id_index" on "usage_window" ("account_id", "invoice_id");`,
    );
    this.addSql(`update usage_window set invoice_id = draft_invoice_id where draft_invoice_id is not null;`);
    this.addSql(`update usage_window set invoice_id = line.invoice_id from invoice_line line
      where line.account_id = usage_window.account_id and line.window_id = usage_window.id;`);
    this.addSql(`update usage_window set invoice_id = other.invoice_id from usage_window other
      where other.account_id = usage_window.account_id and other.subscription_id = usage_window.subscription_id
        and other.closed_at = usage_window.closed_at and other.invoice_id is not null and usage_window.invoice_id is null;`);
    this.addSql(`update usage_window set invoice_id = invoice.id from invoice
      where invoice.account_id = usage_window.account_id and invoice.subscription_id = usage_window.subscription_id
        and invoice.issued_at = usage_window.closed_at and usage_window.invoice_id is null
        and invoice.reason in ('subscription_cycle', 'subscription_cancel', 'subscription_pause');`);
    this.addSql(`update invoice set minimum_spend = jsonb_build_object('planCode', minimum.plan_code, 'amountMinor',
        (minimum.amount_minor + coalesce((select sum(line.amount_minor) from invoice_line line
          where line.account_id = invoice.account_id and line.invoice_id = invoice.id and line.kind = 'usage'), 0))::text)
      from invoice_line minimum
      where minimum.account_id = invoice.account_id and minimum.invoice_id = invoice.id
        and minimum.kind = 'minimum_spend' and minimum.amount_minor > 0;`);
  }
}
