import { Migration } from '@mikro-orm/migrations';

export class Migration20261124100000 extends Migration {
  override name = 'Migration20261124100000';

  override up(): void | Promise<void> {
    this.addSql(
      `create table "applied_coupon" ("account_id" uuid not null, "id" uuid not null, "coupon_id" uuid not null, "periods_left" int null, "applied_at" timestamptz(3) not null, "ended_at" timestamptz(3) null, primary key ("account_id", "id"));`,
    );

    this.addSql(
      `create table "coupon" ("id" uuid not null, "code" text not null, "name" text not null, "amount_minor" bigint null, "currency" text null, "percent" numeric(32,12) null, "duration" text not null, "duration_periods" int null, "plan_codes" text[] not null, "metric_codes" text[] not null, "redeem_by" timestamptz(3) null, "content_hash" text not null, "created_at" timestamptz(3) not null, "archived_at" timestamptz(3) null, primary key ("id"));`,
    );
    this.addSql(`alter table "coupon" add constraint "coupon_code_unique" unique ("code");`);

    this.addSql(
      `create table "credit_application" ("account_id" uuid not null, "id" uuid not null, "credit_note_id" uuid not null, "invoice_id" uuid not null, "amount_minor" bigint not null, "created_at" timestamptz(3) not null, primary key ("account_id", "id"));`,
    );
    this.addSql(
      `create index "credit_application_account_id_invoice_id_index" on "credit_application" ("account_id", "invoice_id");`,
    );

    this.addSql(
      `create table "credit_note" ("account_id" uuid not null, "id" uuid not null, "number" text not null, "invoice_id" uuid not null, "kind" text not null, "status" text not null, "reason" text not null, "customer_name" text not null, "time_zone" text not null, "currency" text not null, "subtotal_minor" bigint not null, "tax_minor" bigint not null, "taxes" jsonb not null, "total_minor" bigint not null, "applied_to_invoice_minor" bigint not null, "refunded_minor" bigint not null, "returned_to_wallet_minor" bigint not null, "balance_minor" bigint not null, "issued_at" timestamptz(3) not null, "voided_at" timestamptz(3) null, primary key ("account_id", "id"));`,
    );
    this.addSql(
      `create index "credit_note_account_id_invoice_id_index" on "credit_note" ("account_id", "invoice_id");`,
    );
    this.addSql(
      `alter table "credit_note" add constraint "credit_note_account_id_number_unique" unique ("account_id", "number");`,
    );

    this.addSql(
      `create table "credit_note_line" ("account_id" uuid not null, "id" uuid not null, "credit_note_id" uuid not null, "invoice_line_id" uuid not null, "position" int not null, "description" text not null, "amount_minor" bigint not null, primary key ("account_id", "id"));`,
    );
    this.addSql(
      `create index "credit_note_line_account_id_credit_note_id_index" on "credit_note_line" ("account_id", "credit_note_id");`,
    );

    this.addSql(
      `create table "invoice_item" ("account_id" uuid not null, "id" uuid not null, "description" text not null, "quantity" numeric(32,12) not null, "unit_amount" numeric(32,12) null, "amount_minor" bigint not null, "created_at" timestamptz(3) not null, "invoice_id" uuid null, primary key ("account_id", "id"));`,
    );

    this.addSql(
      `create table "refund" ("account_id" uuid not null, "id" uuid not null, "payment_id" uuid not null, "subject_id" uuid not null, "amount_minor" bigint not null, "currency" text not null, "status" text not null, "provider_key" text not null, "refund_ref" text null, "failure_code" text null, "created_at" timestamptz(3) not null, "settled_at" timestamptz(3) null, "reconcile_at" timestamptz(3) null, primary key ("account_id", "id"));`,
    );
    this.addSql(`create index "refund_account_id_payment_id_index" on "refund" ("account_id", "payment_id");`);
    this.addSql(`create index "refund_account_id_subject_id_index" on "refund" ("account_id", "subject_id");`);

    this.addSql(
      `create table "tax_rate" ("account_id" uuid not null, "id" uuid not null, "name" text not null, "percent" numeric(32,12) not null, "inclusive" boolean not null, "position" int not null, "created_at" timestamptz(3) not null, "archived_at" timestamptz(3) null, primary key ("account_id", "id"));`,
    );

    this.addSql(
      `create table "usage_correction" ("account_id" uuid not null, "id" uuid not null, "transaction_id" text not null, "action" text not null, "before" jsonb not null, "after" jsonb null, "reason" text null, "created_at" timestamptz(3) not null, primary key ("account_id", "id"));`,
    );
    this.addSql(
      `create index "usage_correction_account_id_transaction_id_index" on "usage_correction" ("account_id", "transaction_id");`,
    );

    this.addSql(
      `alter table "account" add "last_credit_note_number" int not null default 0, add "grace_period_hours" int not null default 0, add "retry_after_days" int[] not null default '{1,3,5,7}', add "dunning_end" text not null default 'cancel', add "tax_exempt" boolean not null default false, add "test_clock_at" timestamptz(3) null, add "test_clock_target_at" timestamptz(3) null;`,
    );
    this.addSql(
      `alter table "account" add constraint "account_dunning_end_check" check ("dunning_end" in ('cancel', 'past_due', 'pause'));`,
    );

    this.addSql(`alter table "invoice" drop constraint "invoice_reason_check";`);
    this.addSql(
      `alter table "invoice" add "finalize_at" timestamptz(3) null, add "discounts" jsonb not null default '[]', add "taxes" jsonb not null default '[]', add "tax_exempt" boolean not null default false, add "credit_noted_minor" bigint not null default 0;`,
    );
    this.addSql(
      `alter table "invoice" add constraint "invoice_reason_check" check ("reason" in ('subscription_create', 'subscription_cycle', 'subscription_change', 'subscription_cancel', 'subscription_pause', 'subscription_resume', 'one_off'));`,
    );

    this.addSql(
      `alter table "invoice_line" add "discount_minor" bigint not null default 0, add "kind" text not null default 'fee', add "plan_code" text null, add "metric_code" text null, add "window_id" uuid null, add "item_id" uuid null;`,
    );
    this.addSql(
      `alter table "invoice_line" add constraint "invoice_line_kind_check" check ("kind" in ('fee', 'proration_credit', 'proration_charge', 'usage', 'minimum_spend', 'one_off'));`,
    );

    this.addSql(`alter table "ledger_account" drop constraint "ledger_account_kind_check";`);
    this.addSql(
      `alter table "ledger_account" add constraint "ledger_account_kind_check" check ("kind" in ('wallet', 'receivable', 'revenue', 'provider_clearing', 'granted_credit', 'tax', 'customer_credit', 'refunds_payable'));`,
    );

    this.addSql(`alter table "metric" add "property" text null;`);

    this.addSql(`alter table "payment_method" add "expiry_notice_at" timestamptz(3) null;`);

    this.addSql(
      `alter table "plan" add "anchor" text not null default 'ANNIVERSARY', add "minimum_spend_minor" bigint null;`,
    );
    this.addSql(
      `alter table "plan" add constraint "plan_anchor_check" check ("anchor" in ('ANNIVERSARY', 'CALENDAR'));`,
    );

    this.addSql(`alter table "plan_feature" add "charge" jsonb null;`);

    this.addSql(
      `alter table "subscription" add "quantity" int not null default 1, add "pending_quantity" int null, add "change_quantity" int null, add "paused_at" timestamptz(3) null, add "resume_at" timestamptz(3) null, add "trial_notice_at" timestamptz(3) null;`,
    );

    this.addSql(`alter table "usage_event" add "unique_value" text null, add "voided_at" timestamptz(3) null;`);

    this.addSql(
      `alter table "usage_window" add "charge" jsonb null, add "opening_level" numeric(32,12) null, add "opening_at" timestamptz(3) null, add "level" numeric(32,12) null, add "accrued" numeric(60,12) null, add "draft_invoice_id" uuid null;`,
    );

    this.addSql(
      `alter table "coupon" add constraint "coupon_duration_check" check ("duration" in ('ONCE', 'REPEATING', 'FOREVER'));`,
    );

    this.addSql(
      `alter table "credit_note" add constraint "credit_note_kind_check" check ("kind" in ('CREDIT', 'REFUND'));`,
    );
    this.addSql(
      `alter table "credit_note" add constraint "credit_note_status_check" check ("status" in ('ISSUED', 'VOID'));`,
    );

    this.addSql(
      `alter table "refund" add constraint "refund_status_check" check ("status" in ('PENDING', 'SUCCEEDED', 'FAILED'));`,
    );

    this.addSql(
      `alter table "usage_correction" add constraint "usage_correction_action_check" check ("action" in ('VOID', 'REPLACE'));`,
    );
  }
}
