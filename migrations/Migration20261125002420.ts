import { Migration } from '@mikro-orm/migrations';

/** A credit says which line it gives back, and at which rates that was taxed; a change that waits, what it takes back. */
export class Migration20261125002420 extends Migration {
  override name = 'Migration20261125002420';

  override up(): void {
    this.addSql(`alter table "invoice_line" add "credits_line_id" uuid null, add "tax_rates" jsonb null;`);
    // A credit gave back the newest fee that then ran to the same end. It was taxed as the rest of its own invoice.
    this.addSql(
      `update invoice_line credit set credits_line_id = (
         select fee.id from invoice given
           join invoice billed on billed.account_id = given.account_id and billed.subscription_id = given.subscription_id
             and billed.id <> given.id and billed.status <> 'VOID' and billed.created_at <= given.created_at
           join invoice_line fee on fee.account_id = billed.account_id and fee.invoice_id = billed.id
         where given.account_id = credit.account_id and given.id = credit.invoice_id
           and fee.kind in ('fee', 'proration_charge') and fee.amount_minor > 0
           and fee.period_end = credit.period_end and fee.period_start <= credit.period_start
         order by billed.created_at desc, billed.id desc, fee.position desc limit 1)
       where credit.kind = 'proration_credit';`,
    );
    this.addSql(
      `create index "invoice_line_account_id_credits_line_id_index" on "invoice_line" ("account_id", "credits_line_id");`,
    );
    this.addSql(
      `alter table "invoice_line" add constraint "invoice_line_credits_line_id_foreign" foreign key (account_id, credits_line_id) ` +
        `references "invoice_line" (account_id, id) on update no action on delete no action deferrable initially deferred;`,
    );

    this.addSql(`alter table "subscription" add "change_takes_back" jsonb null;`);
  }
}
