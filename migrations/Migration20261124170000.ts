import { Migration } from '@mikro-orm/migrations';

/** What a payment provider elsewhere makes necessary: its events, its disputes, and cards that wait for their holder. */
export class Migration20261124170000 extends Migration {
  override name = 'Migration20261124170000';

  override up(): void {
    this.addSql(
      `create table "dispute" ("account_id" uuid not null, "id" uuid not null, "payment_id" uuid not null, "dispute_ref" text not null, "amount_minor" bigint not null, "currency" text not null, "reason" text not null, "status" text not null, "created_at" timestamptz(3) not null, "closed_at" timestamptz(3) null, primary key ("account_id", "id"));`,
    );
    this.addSql(`create index "dispute_account_id_payment_id_index" on "dispute" ("account_id", "payment_id");`);
    this.addSql(
      `alter table "dispute" add constraint "dispute_account_id_dispute_ref_unique" unique ("account_id", "dispute_ref");`,
    );
    this.addSql(
      `alter table "dispute" add constraint "dispute_status_check" check ("status" in ('OPEN', 'WON', 'LOST'));`,
    );
    this.addSql(
      `alter table "dispute" add constraint "dispute_payment_id_foreign" foreign key (account_id, payment_id) references "payment" (account_id, id) on update no action on delete no action deferrable initially deferred;`,
    );

    this.addSql(
      `create table "provider_event" ("account_id" uuid not null, "id" uuid not null, "event_ref" text not null, "type" text not null, "created_at" timestamptz(3) not null, primary key ("account_id", "id"));`,
    );
    this.addSql(`create index "provider_event_event_ref_index" on "provider_event" ("event_ref");`);
    this.addSql(`create index "provider_event_created_at_index" on "provider_event" ("created_at");`);
    this.addSql(
      `alter table "provider_event" add constraint "provider_event_account_id_event_ref_unique" unique ("account_id", "event_ref");`,
    );

    this.addSql(
      `create table "provider_cursor" ("provider" text not null, "second" int not null, "due_at" timestamptz(3) not null, primary key ("provider"));`,
    );

    this.addSql(
      `alter table "payment_method" add "wants_default" boolean not null default false, add "setup_ref" text null, add "client_secret" text null, add "reconcile_at" timestamptz(3) null;`,
    );
    this.addSql(
      `create index "payment_method_reconcile_index" on "payment_method" ("reconcile_at") where "reconcile_at" is not null;`,
    );
    this.addSql(`create index "payment_customer_ref_index" on "payment_customer" ("provider", "customer_ref");`);
  }
}
