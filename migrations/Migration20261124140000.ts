import { Migration } from '@mikro-orm/migrations';
import { sandboxTables } from '../src/integrations/payments/sandbox.js';

/** The sandbox keeps books of refunds: its tables once more, for databases that had them before. */
export class Migration20261124140000 extends Migration {
  override name = 'Migration20261124140000';

  override up(): void {
    this.addSql(sandboxTables);
  }
}
