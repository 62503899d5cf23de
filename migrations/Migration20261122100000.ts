import { Migration } from '@mikro-orm/migrations';

export class Migration20261122100000 extends Migration {
  override name = 'Migration20261122100000';

  override up(): void | Promise<void> {
    this.addSql(
      `create table "account" ("id" uuid not null, "name" text not null, "currency" text not null, "time_zone" text not null, "invoice_prefix" text not null, "last_invoice_number" int not null default 0, "created_at" timestamptz(3) not null, primary key ("id"));`,
    );

    this.addSql(
      `create table "api_key" ("account_id" uuid not null, "id" uuid not null, "name" text not null, "secret_hash" text not null, "scopes" text[] not null, "created_at" timestamptz(3) not null, "expires_at" timestamptz(3) null, "revoked_at" timestamptz(3) null, primary key ("account_id", "id"));`,
    );

    this.addSql(
      `create table "event" ("account_id" uuid not null, "id" uuid not null, "seq" bigint not null, "type" text not null, "occurred_at" timestamptz(3) not null, "data" json not null, primary key ("account_id", "id"));`,
    );
    this.addSql(`alter table "event" add constraint "event_account_id_seq_unique" unique ("account_id", "seq");`);

    this.addSql(
      `create table "event_cursor" ("account_id" uuid not null, "id" uuid not null, "seq" bigint not null, primary key ("account_id", "id"));`,
    );

    this.addSql(
      `create table "idempotency_key" ("account_id" uuid not null, "id" uuid not null, "operation" text not null, "key" text not null, "input_hash" text not null, "answer" jsonb not null, "created_at" timestamptz(3) not null, primary key ("account_id", "id"));`,
    );
    this.addSql(`create index "idempotency_key_created_at_index" on "idempotency_key" ("created_at");`);
    this.addSql(
      `alter table "idempotency_key" add constraint "idempotency_key_account_id_operation_key_unique" unique ("account_id", "operation", "key");`,
    );

    this.addSql(
      `create table "invoice" ("account_id" uuid not null, "id" uuid not null, "number" text null, "status" text not null, "reason" text not null, "subscription_id" uuid null, "customer_name" text not null, "time_zone" text not null, "currency" text not null, "period_start" timestamptz(3) null, "period_end" timestamptz(3) null, "issued_at" timestamptz(3) null, "due_at" timestamptz(3) null, "paid_at" timestamptz(3) null, "subtotal_minor" bigint not null, "discount_minor" bigint not null, "tax_minor" bigint not null, "total_minor" bigint not null, "credit_applied_minor" bigint not null, "wallet_applied_minor" bigint not null, "amount_paid_minor" bigint not null, "amount_due_minor" bigint not null, "failed_attempts" int not null default 0, "first_attempt_at" timestamptz(3) null, "next_payment_attempt_at" timestamptz(3) null, "created_at" timestamptz(3) not null, primary key ("account_id", "id"));`,
    );
    this.addSql(
      `alter table "invoice" add constraint "invoice_account_id_number_unique" unique ("account_id", "number");`,
    );
    this.addSql(
      `alter table "invoice" add constraint "invoice_status_check" check ("status" in ('DRAFT', 'OPEN', 'PAID', 'UNCOLLECTIBLE', 'VOID'));`,
    );
    this.addSql(
      `alter table "invoice" add constraint "invoice_reason_check" check ("reason" in ('subscription_create', 'subscription_cycle', 'subscription_change', 'subscription_cancel'));`,
    );

    this.addSql(
      `create table "invoice_line" ("account_id" uuid not null, "id" uuid not null, "invoice_id" uuid not null, "position" int not null, "description" text not null, "period_start" timestamptz(3) null, "period_end" timestamptz(3) null, "quantity" numeric(32,12) not null, "unit_amount" numeric(32,12) null, "amount_minor" bigint not null, "proration" boolean not null, "explanation" jsonb not null, primary key ("account_id", "id"));`,
    );
    this.addSql(
      `create index "invoice_line_account_id_invoice_id_index" on "invoice_line" ("account_id", "invoice_id");`,
    );

    this.addSql(
      `create table "ledger_account" ("account_id" uuid not null, "id" uuid not null, "kind" text not null, "currency" text not null, "balance_minor" bigint not null, primary key ("account_id", "id"));`,
    );
    this.addSql(
      `alter table "ledger_account" add constraint "ledger_account_account_id_kind_currency_unique" unique ("account_id", "kind", "currency");`,
    );
    this.addSql(
      `alter table "ledger_account" add constraint "ledger_account_kind_check" check ("kind" in ('wallet', 'receivable', 'revenue', 'provider_clearing', 'granted_credit', 'tax'));`,
    );

    this.addSql(
      `create table "ledger_posting" ("account_id" uuid not null, "id" uuid not null, "transaction_id" uuid not null, "ledger_account_id" uuid not null, "amount_minor" bigint not null, "currency" text not null, primary key ("account_id", "id"));`,
    );
    this.addSql(
      `create index "ledger_posting_account_id_transaction_id_index" on "ledger_posting" ("account_id", "transaction_id");`,
    );

    this.addSql(
      `create table "ledger_transaction" ("account_id" uuid not null, "id" uuid not null, "type" text not null, "currency" text not null, "reference_id" uuid not null, "wallet_amount_minor" bigint not null, "wallet_balance_after_minor" bigint null, "created_at" timestamptz(3) not null, primary key ("account_id", "id"));`,
    );
    this.addSql(
      `alter table "ledger_transaction" add constraint "ledger_transaction_account_id_type_reference_id_unique" unique ("account_id", "type", "reference_id");`,
    );

    this.addSql(
      `create table "metric" ("id" uuid not null, "code" text not null, "name" text not null, "unit" text null, "aggregation" text not null, "created_at" timestamptz(3) not null, primary key ("id"));`,
    );
    this.addSql(`alter table "metric" add constraint "metric_code_unique" unique ("code");`);
    this.addSql(
      `alter table "metric" add constraint "metric_aggregation_check" check ("aggregation" in ('COUNT', 'SUM', 'MAX', 'LATEST', 'UNIQUE', 'WEIGHTED_SUM'));`,
    );

    this.addSql(
      `create table "outbox" ("account_id" uuid not null, "id" uuid not null, "seq" bigint not null, "created_at" timestamptz(3) not null, "due_at" timestamptz(3) not null, "attempts" int not null default 0, primary key ("account_id", "id"));`,
    );
    this.addSql(`create index "outbox_due_at_index" on "outbox" ("due_at");`);

    this.addSql(
      `create table "payment" ("account_id" uuid not null, "id" uuid not null, "purpose" text not null, "subject_id" uuid not null, "amount_minor" bigint not null, "currency" text not null, "status" text not null, "payment_method_id" uuid not null, "description" text not null, "provider_key" text not null, "charge_ref" text null, "decline_code" text null, "failure_message" text null, "client_secret" text null, "created_at" timestamptz(3) not null, "settled_at" timestamptz(3) null, "reconcile_at" timestamptz(3) null, primary key ("account_id", "id"));`,
    );
    this.addSql(`create index "payment_account_id_subject_id_index" on "payment" ("account_id", "subject_id");`);
    this.addSql(
      `alter table "payment" add constraint "payment_purpose_check" check ("purpose" in ('invoice', 'top_up', 'recharge'));`,
    );
    this.addSql(
      `alter table "payment" add constraint "payment_status_check" check ("status" in ('PENDING', 'REQUIRES_ACTION', 'SUCCEEDED', 'FAILED', 'REFUNDED'));`,
    );

    this.addSql(
      `create table "payment_customer" ("account_id" uuid not null, "id" uuid not null, "provider" text not null, "customer_ref" text not null, "created_at" timestamptz(3) not null, primary key ("account_id", "id"));`,
    );
    this.addSql(
      `alter table "payment_customer" add constraint "payment_customer_account_id_provider_unique" unique ("account_id", "provider");`,
    );

    this.addSql(
      `create table "payment_method" ("account_id" uuid not null, "id" uuid not null, "status" text not null, "type" text not null, "brand" text null, "last4" text null, "exp_month" int null, "exp_year" int null, "is_default" boolean not null, "method_ref" text null, "decline_code" text null, "failure_message" text null, "created_at" timestamptz(3) not null, "removed_at" timestamptz(3) null, primary key ("account_id", "id"));`,
    );
    this.addSql(
      `alter table "payment_method" add constraint "payment_method_status_check" check ("status" in ('PENDING', 'ACTIVE', 'FAILED', 'REMOVED'));`,
    );

    this.addSql(
      `create table "plan" ("id" uuid not null, "code" text not null, "version" int not null, "name" text not null, "price_minor" bigint not null, "currency" text not null, "interval" text not null, "interval_count" int not null, "trial_days" int not null, "position" int not null, "content_hash" text not null, "published_at" timestamptz(3) not null, "current" boolean not null, primary key ("id"));`,
    );
    this.addSql(`alter table "plan" add constraint "plan_code_version_unique" unique ("code", "version");`);
    this.addSql(
      `alter table "plan" add constraint "plan_interval_check" check ("interval" in ('DAY', 'WEEK', 'MONTH', 'YEAR'));`,
    );

    this.addSql(
      `create table "plan_feature" ("plan_id" uuid not null, "code" text not null, "position" int not null, "name" text not null, "metric_code" text null, "limit_quantity" numeric(32,12) null, "overage" text not null, "unit_price" numeric(32,12) null, primary key ("plan_id", "code"));`,
    );
    this.addSql(
      `alter table "plan_feature" add constraint "plan_feature_overage_check" check ("overage" in ('BLOCK', 'CHARGE', 'ALLOW'));`,
    );

    this.addSql(`create table "server_secret" ("name" text not null, "value" text not null, primary key ("name"));`);

    this.addSql(
      `create table "subscription" ("account_id" uuid not null, "id" uuid not null, "version" int not null, "status" text not null, "plan_id" uuid not null, "anchor" timestamptz(3) not null, "period_start" timestamptz(3) not null, "period_end" timestamptz(3) not null, "trial_ends_at" timestamptz(3) null, "cancel_at" timestamptz(3) null, "canceled_at" timestamptz(3) null, "pending_plan_id" uuid null, "change_plan_id" uuid null, "change_invoice_id" uuid null, "first_invoice_id" uuid null, "due_at" timestamptz(3) null, "created_at" timestamptz(3) not null, primary key ("account_id", "id"));`,
    );
    this.addSql(
      `alter table "subscription" add constraint "subscription_status_check" check ("status" in ('INCOMPLETE', 'TRIALING', 'ACTIVE', 'PAST_DUE', 'PAUSED', 'CANCELED'));`,
    );

    this.addSql(
      `create table "usage_cursor" ("account_id" uuid not null, "id" uuid not null, "watermark" bigint not null, primary key ("account_id", "id"));`,
    );

    this.addSql(
      `create table "usage_event" ("account_id" uuid not null, "id" text not null, "metric_code" text not null, "value" numeric(32,12) not null, "occurred_at" timestamptz(3) not null, "window_id" uuid not null, "late" boolean not null, "properties" jsonb null, "recorded_at" timestamptz(3) not null, primary key ("account_id", "id"));`,
    );

    this.addSql(
      `create table "usage_window" ("account_id" uuid not null, "id" uuid not null, "subscription_id" uuid not null, "metric_code" text not null, "feature_name" text not null, "position" int not null, "aggregation" text not null, "period_start" timestamptz(3) not null, "period_end" timestamptz(3) not null, "limit_quantity" numeric(32,12) null, "overage" text not null, "unit_price" numeric(32,12) null, "currency" text not null, "used" numeric(32,12) not null default '0', "event_count" int not null default 0, "latest_at" timestamptz(3) null, "threshold_percents" numeric[] not null, "fired_percents" numeric[] not null, "closed_at" timestamptz(3) null, primary key ("account_id", "id"));`,
    );
    this.addSql(
      `alter table "usage_window" add constraint "usage_window_account_id_metric_code_period_start__66eb7_unique" unique ("account_id", "metric_code", "period_start", "subscription_id");`,
    );
    this.addSql(
      `alter table "usage_window" add constraint "usage_window_aggregation_check" check ("aggregation" in ('COUNT', 'SUM', 'MAX', 'LATEST', 'UNIQUE', 'WEIGHTED_SUM'));`,
    );
    this.addSql(
      `alter table "usage_window" add constraint "usage_window_overage_check" check ("overage" in ('BLOCK', 'CHARGE', 'ALLOW'));`,
    );

    this.addSql(
      `create table "wallet" ("account_id" uuid not null, "id" uuid not null, "currency" text not null, "auto_recharge_enabled" boolean not null default false, "auto_recharge_threshold_minor" bigint null, "auto_recharge_amount_minor" bigint null, "recharge_due_at" timestamptz(3) null, "recharge_failures" int not null default 0, "created_at" timestamptz(3) not null, primary key ("account_id", "id"));`,
    );
    this.addSql(`alter table "wallet" add constraint "wallet_account_id_unique" unique ("account_id");`);

    this.addSql(
      `create table "webhook_attempt" ("account_id" uuid not null, "id" uuid not null, "delivery_id" uuid not null, "attempted_at" timestamptz(3) not null, "response_status" int null, "duration_ms" int not null, "response_excerpt" text not null, "error" text null, primary key ("account_id", "id"));`,
    );
    this.addSql(
      `create index "webhook_attempt_account_id_delivery_id_index" on "webhook_attempt" ("account_id", "delivery_id");`,
    );

    this.addSql(
      `create table "webhook_delivery" ("account_id" uuid not null, "id" uuid not null, "endpoint_id" uuid not null, "event_id" uuid not null, "status" text not null, "attempts" int not null default 0, "next_attempt_at" timestamptz(3) null, "response_status" int null, "duration_ms" int null, "created_at" timestamptz(3) not null, "delivered_at" timestamptz(3) null, primary key ("account_id", "id"));`,
    );
    this.addSql(
      `alter table "webhook_delivery" add constraint "webhook_delivery_account_id_endpoint_id_event_id_unique" unique ("account_id", "endpoint_id", "event_id");`,
    );
    this.addSql(
      `alter table "webhook_delivery" add constraint "webhook_delivery_status_check" check ("status" in ('PENDING', 'DELIVERED', 'FAILED'));`,
    );

    this.addSql(
      `create table "webhook_endpoint" ("account_id" uuid not null, "id" uuid not null, "url" text not null, "events" text[] not null, "enabled" boolean not null, "secret" text not null, "created_at" timestamptz(3) not null, "deleted_at" timestamptz(3) null, primary key ("account_id", "id"));`,
    );
  }
}
