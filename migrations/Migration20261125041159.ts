import { Migration } from '@mikro-orm/migrations';

/**
 * Webhooks that are claimed and settled by the set, sent again, tested, and rotate their secrets; how far an account's log was deleted
 * because of its age.
 */
export class Migration20261125041159 extends Migration {
  override name = 'Migration20261125041159';

  override up(): void | Promise<void> {
    this.addSql(`create index "event_account_id_occurred_at_index" on "event" ("account_id", "occurred_at");`);

    this.addSql(`alter table "event_cursor" add "pruned_seq" bigint not null default '0';`);

    this.addSql(
      `alter table "webhook_delivery" add "test_body" text null, add "schedule_from" int not null default 0, add "leased_until" timestamptz(3) null;`,
    );
    this.addSql(`alter table "webhook_delivery" alter column "event_id" drop not null;`);

    this.addSql(
      `alter table "webhook_endpoint" add "disabled_at" timestamptz(3) null, add "disabled_reason" text null, add "failing_since" timestamptz(3) null, add "former_secrets" jsonb not null default '[]';`,
    );
    this.addSql(
      `alter table "webhook_endpoint" add constraint "webhook_endpoint_disabled_reason_check" check ("disabled_reason" in ('FAILING', 'GONE', 'OWNER'));`,
    );

    this.addSql(
      `alter table "webhook_delivery" add constraint "webhook_delivery_content_check" check (("event_id" is null) <> ("test_body" is null));`,
    );
    // In the order of the pump, with what it chooses by.
    this.addSql(`drop index "webhook_delivery_due_index";`);
    this.addSql(
      `create index "webhook_delivery_due_index" on "webhook_delivery" ("next_attempt_at", "id") include ("account_id", "endpoint_id") where "status" = 'PENDING';`,
    );
    // Until now only a 410 disabled an endpoint that was not deleted.
    this.addSql(
      `update "webhook_endpoint" set "disabled_reason" = 'GONE' where not "enabled" and "deleted_at" is null;`,
    );
  }
}
