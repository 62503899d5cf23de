import { Migration } from '@mikro-orm/migrations';

/** When a change of plan took a window's metric away. */
export class Migration20261125003227 extends Migration {
  override name = 'Migration20261125003227';

  override up(): void {
    this.addSql(`alter table "usage_window" add "withdrawn_at" timestamptz(3) null;`);
  }
}
