import { Migration } from '@mikro-orm/migrations';
import { sandboxTables } from '../src/integrations/payments/sandbox.js';

/**
 * What the entities can't say: foreign keys (each with `account_id`, so that they hold on a sharded cluster; checked at
 * commit, because the unit of work orders its inserts by itself), partial
 * indexes for what is due, limits that no bug may pass, and the tables of the sandbox provider.
 */
export class Migration20261122100001 extends Migration {
  override name = 'Migration20261122100001';

  override up(): void {
    const references = (table: string, columns: string, target: string, key: string): void =>
      this.addSql(
        `alter table "${table}" add constraint "${table}_${columns.split(', ').at(-1)}_foreign" ` +
          `foreign key (${columns}) references "${target}" (${key}) on update no action on delete no action deferrable initially deferred;`,
      );
    for (const table of [
      'payment_customer',
      'payment_method',
      'wallet',
      'ledger_account',
      'subscription',
      'webhook_endpoint',
      'invoice',
    ]) {
      references(table, 'account_id', 'account', 'id');
    }
    references('payment', 'account_id, payment_method_id', 'payment_method', 'account_id, id');
    references('ledger_posting', 'account_id, transaction_id', 'ledger_transaction', 'account_id, id');
    references('ledger_posting', 'account_id, ledger_account_id', 'ledger_account', 'account_id, id');
    references('invoice_line', 'account_id, invoice_id', 'invoice', 'account_id, id');
    references('usage_window', 'account_id, subscription_id', 'subscription', 'account_id, id');
    references('webhook_delivery', 'account_id, endpoint_id', 'webhook_endpoint', 'account_id, id');
    references('webhook_attempt', 'account_id, delivery_id', 'webhook_delivery', 'account_id, id');
    references('subscription', 'plan_id', 'plan', 'id');
    references('plan_feature', 'plan_id', 'plan', 'id');

    this.addSql(`create unique index "plan_current_unique" on "plan" ("code") where "current";`);
    this.addSql(
      `create unique index "subscription_live_unique" on "subscription" ("account_id") where "status" <> 'CANCELED';`,
    );
    this.addSql(
      `create unique index "payment_method_default_unique" on "payment_method" ("account_id") where "is_default";`,
    );
    this.addSql(
      `create unique index "invoice_cycle_unique" on "invoice" ("account_id", "subscription_id", "period_start") where "reason" = 'subscription_cycle';`,
    );

    this.addSql(`create index "subscription_due_index" on "subscription" ("due_at") where "due_at" is not null;`);
    this.addSql(
      `create index "payment_reconcile_index" on "payment" ("reconcile_at") where "reconcile_at" is not null;`,
    );
    this.addSql(
      `create index "invoice_next_attempt_index" on "invoice" ("next_payment_attempt_at") where "next_payment_attempt_at" is not null;`,
    );
    this.addSql(
      `create index "wallet_recharge_due_index" on "wallet" ("recharge_due_at") where "recharge_due_at" is not null;`,
    );
    this.addSql(
      `create index "webhook_delivery_due_index" on "webhook_delivery" ("next_attempt_at") where "status" = 'PENDING';`,
    );
    this.addSql(
      `create index "webhook_delivery_endpoint_index" on "webhook_delivery" ("account_id", "endpoint_id", "id");`,
    );
    this.addSql(
      `create index "usage_window_open_index" on "usage_window" ("account_id", "metric_code") where "closed_at" is null;`,
    );
    this.addSql(
      `create index "ledger_transaction_wallet_index" on "ledger_transaction" ("account_id", "id") where "wallet_amount_minor" <> 0;`,
    );

    this.addSql(
      `alter table "ledger_account" add constraint "ledger_account_wallet_check" check ("kind" <> 'wallet' or "balance_minor" >= 0);`,
    );
    this.addSql(
      `alter table "ledger_posting" add constraint "ledger_posting_amount_check" check ("amount_minor" <> 0);`,
    );
    this.addSql(`alter table "payment" add constraint "payment_amount_check" check ("amount_minor" > 0);`);
    this.addSql(
      `alter table "invoice" add constraint "invoice_amounts_check" check ("total_minor" >= 0 and "amount_due_minor" >= 0 and "wallet_applied_minor" >= 0 and "amount_paid_minor" >= 0);`,
    );
    this.addSql(
      `alter table "usage_window" add constraint "usage_window_period_check" check ("period_end" >= "period_start");`,
    );

    this.addSql(sandboxTables);
  }
}
