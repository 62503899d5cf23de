import { Migration } from '@mikro-orm/migrations';

/** What the entities can't say of the billing engine's tables, and what the rows there are become. */
export class Migration20261124100001 extends Migration {
  override name = 'Migration20261124100001';

  override up(): void {
    this.addSql(
      `update invoice_line set kind = case when proration and amount_minor < 0 then 'proration_credit'
         when proration then 'proration_charge' when description like '% over the limit of %' then 'usage' else 'fee' end;`,
    );
    // The defaults were for the rows that were there; every new one says what it is.
    this.addSql(
      `alter table invoice alter discounts drop default, alter taxes drop default, alter tax_exempt drop default, alter credit_noted_minor drop default;`,
    );
    this.addSql(`alter table invoice_line alter discount_minor drop default, alter kind drop default;`);

    const references = (table: string, columns: string, target: string, key: string): void =>
      this.addSql(
        `alter table "${table}" add constraint "${table}_${columns.split(', ').at(-1)}_foreign" ` +
          `foreign key (${columns}) references "${target}" (${key}) on update no action on delete no action deferrable initially deferred;`,
      );
    references('tax_rate', 'account_id', 'account', 'id');
    references('applied_coupon', 'account_id', 'account', 'id');
    references('applied_coupon', 'coupon_id', 'coupon', 'id');
    references('invoice_item', 'account_id', 'account', 'id');
    references('credit_note', 'account_id, invoice_id', 'invoice', 'account_id, id');
    references('credit_note_line', 'account_id, credit_note_id', 'credit_note', 'account_id, id');
    references('credit_note_line', 'account_id, invoice_line_id', 'invoice_line', 'account_id, id');
    references('credit_application', 'account_id, credit_note_id', 'credit_note', 'account_id, id');
    references('credit_application', 'account_id, invoice_id', 'invoice', 'account_id, id');
    references('refund', 'account_id, payment_id', 'payment', 'account_id, id');

    this.addSql(`create index "account_test_clock_index" on "account" ("id") where "test_clock_at" is not null;`);
    this.addSql(`create index "invoice_finalize_index" on "invoice" ("finalize_at") where "finalize_at" is not null;`);
    this.addSql(
      `create index "payment_method_expiry_notice_index" on "payment_method" ("expiry_notice_at") where "expiry_notice_at" is not null;`,
    );
    this.addSql(`create index "refund_reconcile_index" on "refund" ("reconcile_at") where "reconcile_at" is not null;`);
    this.addSql(
      `create index "invoice_item_waiting_index" on "invoice_item" ("account_id") where "invoice_id" is null;`,
    );
    this.addSql(
      `create index "applied_coupon_live_index" on "applied_coupon" ("account_id") where "ended_at" is null;`,
    );
    this.addSql(
      `create index "credit_note_balance_index" on "credit_note" ("account_id", "id") where "balance_minor" > 0;`,
    );
    this.addSql(
      `create index "usage_event_window_index" on "usage_event" ("account_id", "window_id", "occurred_at", "id");`,
    );
    this.addSql(
      `create index "usage_event_unique_value_index" on "usage_event" ("account_id", "window_id", "unique_value") where "unique_value" is not null;`,
    );

    this.addSql(
      `alter table "invoice" add constraint "invoice_credit_check" check ("credit_noted_minor" >= 0 and "credit_noted_minor" <= "total_minor" and "credit_applied_minor" >= 0);`,
    );
    this.addSql(
      `alter table "credit_note" add constraint "credit_note_amounts_check" check ("total_minor" > 0 and "balance_minor" >= 0 and "refunded_minor" >= 0 and "applied_to_invoice_minor" >= 0 and "returned_to_wallet_minor" >= 0);`,
    );
    this.addSql(`alter table "refund" add constraint "refund_amount_check" check ("amount_minor" > 0);`);
    this.addSql(`alter table "subscription" add constraint "subscription_quantity_check" check ("quantity" > 0);`);
  }
}
