import { Migration } from '@mikro-orm/migrations';

/** A provider's list of events that is too long for one round is read in parts: how far that has come. */
export class Migration20261125000000 extends Migration {
  override name = 'Migration20261125000000';

  override up(): void {
    this.addSql(`alter table "provider_cursor" add "pass" jsonb null;`);
  }
}
