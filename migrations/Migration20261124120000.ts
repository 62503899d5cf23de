import { Migration } from '@mikro-orm/migrations';

/** Lets a window be counted anew from its events: the order they came in, and the level its period began with. */
export class Migration20261124120000 extends Migration {
  override name = 'Migration20261124120000';

  override up(): void {
    // Events of before keep the order of the time they were recorded at.
    this.addSql(
      `alter table "usage_event" add "watermark" bigint not null default 0, add "position" int not null default 0;`,
    );
    this.addSql(`alter table "usage_event" alter "watermark" drop default, alter "position" drop default;`);
    // A change of plan left closed windows without a count behind; no level went through them.
    this.addSql(
      `update usage_window w set opening_level = coalesce(b.level, 0), opening_at = b.at
       from (
         select account_id, id, lag(used) over chain as level, lag(latest_at) over chain as at from usage_window
         where aggregation = 'LATEST' and not (closed_at is not null and event_count = 0 and latest_at is null)
         window chain as (partition by account_id, subscription_id, metric_code order by period_end, id)
       ) b
       where w.account_id = b.account_id and w.id = b.id;`,
    );
  }
}
