import { Migration } from '@mikro-orm/migrations';

/** A price per unit becomes the charge model `unit`, and the only place that a price is in. */
export class Migration20261124110000 extends Migration {
  override name = 'Migration20261124110000';

  override up(): void {
    // Overage charge without a limit was free until now and means pay per use from here on. What was published or opened
    // so stays free; publishing the plan again makes the version that is paid for.
    this.addSql(
      `update plan set content_hash = '' where id in (select plan_id from plan_feature where overage = 'CHARGE' and limit_quantity is null);`,
    );
    for (const table of ['plan_feature', 'usage_window']) {
      this.addSql(
        `update ${table} set overage = 'ALLOW', unit_price = null where overage = 'CHARGE' and limit_quantity is null;`,
      );
      this.addSql(
        `update ${table} set charge = jsonb_build_object('model', 'unit', 'unitPrice', trim_scale(unit_price)::text, 'freeUnits', '0', 'minimum', '0')
         where unit_price is not null;`,
      );
      this.addSql(`alter table "${table}" drop column "unit_price";`);
    }
  }
}
