import { Migration } from '@mikro-orm/migrations';

/** Cards from before announcements of their expiry: the same rule as domain/cardExpiry, for those that have not expired yet. */
export class Migration20261124160000 extends Migration {
  override name = 'Migration20261124160000';

  override up(): void {
    this.addSql(`update payment_method
      set expiry_notice_at =
        (make_timestamp(exp_year, exp_month, 1, 0, 0, 0) + interval '1 month' - interval '30 days') at time zone account.time_zone
      from account
      where account.id = payment_method.account_id and payment_method.status = 'ACTIVE' and exp_month between 1 and 12
        and exp_year is not null and make_timestamp(exp_year, exp_month, 1, 0, 0, 0) + interval '1 month' > now();`);
  }
}
