import { Migration } from '@mikro-orm/migrations';

/** Statements read the movements of a period. */
export class Migration20261125013600 extends Migration {
  override name = 'Migration20261125013600';

  override up(): void {
    this.addSql(
      `create index "ledger_transaction_account_id_created_at_id_index" on "ledger_transaction" ("account_id", "created_at", "id");`,
    );
  }
}
