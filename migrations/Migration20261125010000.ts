import { Migration } from '@mikro-orm/migrations';

/**
 * The grants of wallets that were there before grants were kept: what is left of each credit that came in. Credit was one heap until
 * then, so this reckons as spending does from now on: given credit went first, of either kind the oldest. A grant is opened with
 * what is left of it, and keeps the id of the movement that brought it. The sum is the balance, to the minor unit.
 */
export const grantsOfBalances = `
  with wallet_balance as (
    select a.account_id, a.currency, a.balance_minor as balance,
      coalesce(sum(t.wallet_amount_minor) filter (where t.type = 'credit'), 0) as given,
      coalesce(sum(t.wallet_amount_minor) filter (where t.type = 'top_up'), 0) as bought
    from ledger_account a
    left join ledger_transaction t on t.account_id = a.account_id and t.currency = a.currency and t.type in ('credit', 'top_up')
    where a.kind = 'wallet' and a.balance_minor > 0
    group by a.account_id, a.currency, a.balance_minor
  ), share as (
    select account_id, currency, 'granted' as kind, 'credit' as type, greatest(0, balance - bought) as left_over from wallet_balance
    union all
    select account_id, currency, 'purchased', 'top_up', least(balance, bought) from wallet_balance
  ), credit as (
    select t.account_id, t.id, t.currency, t.reference_id, t.created_at, share.kind,
      least(t.wallet_amount_minor, share.left_over - coalesce(sum(t.wallet_amount_minor) over (
        partition by t.account_id, t.currency, t.type order by t.id desc rows between unbounded preceding and 1 preceding), 0)) as remaining
    from ledger_transaction t
    join share on share.account_id = t.account_id and share.currency = t.currency and share.type = t.type
    where t.wallet_amount_minor > 0
  )
  insert into wallet_grant (account_id, id, kind, currency, amount_minor, remaining_minor, held_minor, priority, reference_id, created_at)
  select account_id, id, kind, currency, remaining, remaining, 0, 50, reference_id, created_at from credit where remaining > 0`;

/** Credit as grants with priority and expiry, holds on it, a monthly limit of recharges, and when a wallet is low. */
export class Migration20261125010000 extends Migration {
  override name = 'Migration20261125010000';

  override up(): void {
    const references = (table: string, columns: string, target: string, key: string): void =>
      this.addSql(
        `alter table "${table}" add constraint "${table}_${columns.split(', ').at(-1)}_foreign" ` +
          `foreign key (${columns}) references "${target}" (${key}) on update no action on delete no action deferrable initially deferred;`,
      );
    const check = (table: string, name: string, condition: string): void =>
      this.addSql(`alter table "${table}" add constraint "${table}_${name}_check" check (${condition});`);

    this.addSql(
      `create table "wallet_grant" ("account_id" uuid not null, "id" uuid not null, "kind" text not null, "currency" text not null, "amount_minor" bigint not null, "remaining_minor" bigint not null, "held_minor" bigint not null, "priority" int not null, "expires_at" timestamptz(3) null, "expiry_due_at" timestamptz(3) null, "reason" text null, "reference_id" uuid not null, "created_at" timestamptz(3) not null, primary key ("account_id", "id"));`,
    );
    this.addSql(
      `create index "wallet_grant_account_id_reference_id_index" on "wallet_grant" ("account_id", "reference_id");`,
    );
    this.addSql(`create index "wallet_grant_open_index" on "wallet_grant" ("account_id") where "remaining_minor" > 0;`);
    this.addSql(
      `create index "wallet_grant_expiry_due_index" on "wallet_grant" ("expiry_due_at") where "expiry_due_at" is not null;`,
    );
    check('wallet_grant', 'kind', `"kind" in ('purchased', 'granted')`);
    check('wallet_grant', 'amounts', `"amount_minor" > 0 and "held_minor" >= 0 and "remaining_minor" >= "held_minor"`);
    references('wallet_grant', 'account_id', 'wallet', 'account_id');

    this.addSql(
      `create table "wallet_grant_entry" ("account_id" uuid not null, "id" uuid not null, "grant_id" uuid not null, "transaction_id" uuid not null, "subject_id" uuid not null, "amount_minor" bigint not null, "expires_at" timestamptz(3) null, "created_at" timestamptz(3) not null, primary key ("account_id", "id"));`,
    );
    for (const column of ['grant_id', 'transaction_id', 'subject_id'])
      this.addSql(
        `create index "wallet_grant_entry_account_id_${column}_index" on "wallet_grant_entry" ("account_id", "${column}");`,
      );
    check('wallet_grant_entry', 'amount', `"amount_minor" <> 0`);
    references('wallet_grant_entry', 'account_id, grant_id', 'wallet_grant', 'account_id, id');
    references('wallet_grant_entry', 'account_id, transaction_id', 'ledger_transaction', 'account_id, id');

    this.addSql(
      `create table "wallet_hold" ("account_id" uuid not null, "id" uuid not null, "status" text not null, "currency" text not null, "amount_minor" bigint not null, "captured_minor" bigint not null, "description" text not null, "expires_at" timestamptz(3) not null, "expiry_due_at" timestamptz(3) null, "created_at" timestamptz(3) not null, "ended_at" timestamptz(3) null, primary key ("account_id", "id"));`,
    );
    this.addSql(
      `create index "wallet_hold_expiry_due_index" on "wallet_hold" ("expiry_due_at") where "expiry_due_at" is not null;`,
    );
    check('wallet_hold', 'status', `"status" in ('OPEN', 'CAPTURED', 'RELEASED', 'EXPIRED')`);
    check('wallet_hold', 'amounts', `"amount_minor" > 0 and "captured_minor" between 0 and "amount_minor"`);
    references('wallet_hold', 'account_id', 'wallet', 'account_id');

    this.addSql(
      `create table "wallet_hold_part" ("account_id" uuid not null, "id" uuid not null, "hold_id" uuid not null, "grant_id" uuid not null, "amount_minor" bigint not null, primary key ("account_id", "id"));`,
    );
    this.addSql(
      `create index "wallet_hold_part_account_id_hold_id_index" on "wallet_hold_part" ("account_id", "hold_id");`,
    );
    check('wallet_hold_part', 'amount', `"amount_minor" > 0`);
    references('wallet_hold_part', 'account_id, hold_id', 'wallet_hold', 'account_id, id');
    references('wallet_hold_part', 'account_id, grant_id', 'wallet_grant', 'account_id, id');

    this.addSql(`alter table "refund" add "purpose" text not null default 'credit_note';`);
    this.addSql(`alter table "refund" alter column "purpose" drop default;`);
    check('refund', 'purpose', `"purpose" in ('credit_note', 'top_up')`);

    this.addSql(
      `alter table "wallet" add "auto_recharge_monthly_limit_minor" bigint null, add "recharge_capped_until" timestamptz(3) null, add "low_threshold_minor" bigint null, add "is_low" boolean not null default false, add "low_due_at" timestamptz(3) null;`,
    );
    this.addSql(`create index "wallet_low_due_index" on "wallet" ("low_due_at") where "low_due_at" is not null;`);

    this.addSql(grantsOfBalances);
  }
}
