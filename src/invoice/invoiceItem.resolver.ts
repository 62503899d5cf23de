import { Arg, Ctx, Field, FieldResolver, ID, InputType, Mutation, ObjectType, Resolver, Root } from 'type-graphql';
import { AccountType } from '../account/account.resolver.js';
import { accountById } from '../account/createAccount.js';
import { Decimal } from '../domain/decimal.js';
import { requireScope } from '../platform/actor.js';
import { load } from '../platform/batch.js';
import type { Context } from '../platform/context.js';
import {
  IdempotentInput,
  MoneyInput,
  MoneyType,
  MutationPayload,
  moneyFrom,
  moneyOf,
  payload,
} from '../platform/graphqlTypes.js';
import { publicId } from '../platform/ids.js';
import { DateTime, DecimalScalar } from '../platform/scalars.js';
import { addInvoiceItem } from './addInvoiceItem.js';
import { createInvoice } from './createInvoice.js';
import { InvoiceItem } from './invoice.entity.js';
import { InvoicePayload } from './invoice.resolver.js';
import { type ItemInput, waitingItems } from './invoiceItems.js';
import { invoicesByIds } from './invoices.js';
import { removeInvoiceItem } from './removeInvoiceItem.js';

/** An item with the currency of its account, which the item itself doesn't repeat. */
type ItemView = InvoiceItem & { currency: string };

@ObjectType('InvoiceItem', { description: 'Something to bill once, with the next invoice' })
class InvoiceItemType {
  @Field(() => String)
  description!: string;

  @Field(() => DateTime)
  createdAt!: Date;
}

@ObjectType('InvoiceItemPayload')
class InvoiceItemPayload extends MutationPayload {
  @Field(() => InvoiceItemType, { nullable: true, description: 'Null once it is removed' })
  invoiceItem?: ItemView | undefined;
}

@InputType('OneOffItemInput', { description: 'Either an amount, or a unitAmount with its quantity; may be below zero' })
class OneOffItemInput {
  @Field(() => String)
  description!: string;

  @Field(() => MoneyInput, { nullable: true })
  amount?: MoneyInput | null;

  @Field(() => DecimalScalar, { nullable: true })
  quantity?: Decimal | null;

  @Field(() => DecimalScalar, { nullable: true, description: 'Major units of the account’s currency' })
  unitAmount?: Decimal | null;
}

@InputType('AddInvoiceItemInput')
class AddInvoiceItemInput extends OneOffItemInput {
  @Field(() => String)
  idempotencyKey!: string;
}

@InputType('InvoiceItemIdInput')
class InvoiceItemIdInput extends IdempotentInput {
  @Field(() => ID)
  invoiceItemId!: string;
}

@InputType('CreateInvoiceInput')
class CreateInvoiceInput extends IdempotentInput {
  @Field(() => [OneOffItemInput], { nullable: true, description: 'Billed beside what waits already' })
  items?: OneOffItemInput[] | null;
}

const itemOf = (input: OneOffItemInput, ...field: string[]): ItemInput => ({
  description: input.description,
  ...(input.amount ? { amount: moneyFrom(input.amount, ...field, 'amount') } : {}),
  ...(input.quantity ? { quantity: input.quantity } : {}),
  ...(input.unitAmount ? { unitAmount: input.unitAmount } : {}),
});

@Resolver(() => InvoiceItemType)
export class InvoiceItemResolver {
  @FieldResolver(() => ID)
  id(@Root() item: ItemView): string {
    return publicId('invoiceItem', item.id);
  }

  @FieldResolver(() => DecimalScalar)
  quantity(@Root() item: ItemView): Decimal {
    return new Decimal(item.quantity);
  }

  @FieldResolver(() => DecimalScalar, { nullable: true })
  unitAmount(@Root() item: ItemView): Decimal | null {
    return item.unitAmount == null ? null : new Decimal(item.unitAmount);
  }

  @FieldResolver(() => MoneyType)
  amount(@Root() item: ItemView): MoneyType {
    return moneyOf(item.amountMinor, item.currency);
  }

  @Mutation(() => InvoiceItemPayload, { description: 'For operators: bills something with the next invoice' })
  addInvoiceItem(
    @Arg('input', () => AddInvoiceItemInput) { idempotencyKey, ...item }: AddInvoiceItemInput,
    @Ctx() { deps, actor, scope }: Context,
  ): Promise<InvoiceItemPayload> {
    return payload(async () => {
      const made = await addInvoiceItem(deps, actor, { idempotencyKey, ...itemOf(item) });
      const { currency } = await accountById(scope.em, actor.accountId);
      const found = await scope.em.findOne(InvoiceItem, { accountId: actor.accountId, id: made.invoiceItemId });
      return { invoiceItem: found ? { ...found, currency } : undefined, replayed: made.replayed };
    });
  }

  @Mutation(() => InvoiceItemPayload, { description: 'For operators: takes an item back while it waits' })
  removeInvoiceItem(
    @Arg('input', () => InvoiceItemIdInput) input: InvoiceItemIdInput,
    @Ctx() { deps, actor }: Context,
  ): Promise<InvoiceItemPayload> {
    return payload(() => removeInvoiceItem(deps, actor, { ...input }));
  }

  @Mutation(() => InvoicePayload, { description: 'For operators: invoices what waits and the items given, now' })
  createInvoice(
    @Arg('input', () => CreateInvoiceInput) { idempotencyKey, items }: CreateInvoiceInput,
    @Ctx() { deps, actor, scope }: Context,
  ): Promise<InvoicePayload> {
    return payload(async () => {
      const given = (items ?? []).map((item, i) => itemOf(item, 'items', String(i)));
      const { invoiceId, replayed } = await createInvoice(deps, actor, { idempotencyKey, items: given });
      return { invoice: await load(scope, invoicesByIds, actor.accountId, invoiceId), replayed };
    });
  }
}

@Resolver(() => AccountType)
export class AccountInvoiceItemsResolver {
  @FieldResolver(() => [InvoiceItemType], { description: 'What waits for the next invoice' })
  async invoiceItems(@Ctx() { scope, actor }: Context): Promise<ItemView[]> {
    requireScope(actor, 'invoices:read');
    const { currency } = await accountById(scope.em, actor.accountId);
    return (await waitingItems(scope.em, actor.accountId)).map((item) => ({ ...item, currency }));
  }
}
