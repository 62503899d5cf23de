import {
  Arg,
  Ctx,
  Field,
  FieldResolver,
  ID,
  InputType,
  Int,
  Mutation,
  ObjectType,
  Query,
  Resolver,
  Root,
  registerEnumType,
  Subscription,
} from 'type-graphql';
import { Decimal } from '../domain/decimal.js';
import type { Payment } from '../payment/payment.entity.js';
import { PaymentType } from '../payment/payment.resolver.js';
import { paymentsBySubjectIds } from '../payment/paymentMethods.js';
import { requireScope } from '../platform/actor.js';
import { load } from '../platform/batch.js';
import { type Connection, connectionType } from '../platform/connection.js';
import type { Context } from '../platform/context.js';
import { sequenceAfter } from '../platform/event.resolver.js';
import {
  enumOf,
  IdempotentInput,
  MoneyType,
  MutationPayload,
  moneyOf,
  NodeType,
  PeriodType,
  payload,
} from '../platform/graphqlTypes.js';
import { publicId, uuidOf } from '../platform/ids.js';
import { CurrencyScalar, DateTime, DecimalScalar } from '../platform/scalars.js';
import type { DecidedInvoice } from './decideInvoice.js';
import {
  type Invoice,
  type InvoiceDiscount,
  type InvoiceLine,
  type InvoiceTax,
  invoiceStatuses,
  lineKinds,
} from './invoice.entity.js';
import { discountsShown, invoicePdfPath } from './invoice.present.js';
import { invoicesByIds, linesByInvoiceIds, listInvoices } from './invoices.js';
import { payInvoice } from './payInvoice.js';
import { watchedInvoices } from './watchInvoices.js';

const InvoiceStatus = enumOf(invoiceStatuses);
registerEnumType(InvoiceStatus, { name: 'InvoiceStatus' });

const InvoiceLineKind = enumOf(lineKinds.map((kind) => kind.toUpperCase() as Uppercase<typeof kind>));
registerEnumType(InvoiceLineKind, { name: 'InvoiceLineKind' });

@ObjectType('ExplanationStep')
export class ExplanationStepType {
  @Field(() => String)
  label!: string;

  @Field(() => String)
  expression!: string;

  @Field(() => DecimalScalar)
  result!: string;
}

@ObjectType('InvoiceLine', { implements: NodeType })
export class InvoiceLineType extends NodeType {
  @Field(() => String)
  description!: string;

  @Field(() => Boolean)
  proration!: boolean;

  @Field(() => [ExplanationStepType], {
    description: "How the amount came about: each step with its expression and exact result, down to the events' total",
  })
  explanation!: ExplanationStepType[];
}

@ObjectType('InvoiceDiscount', { description: 'What one coupon takes off an invoice' })
export class InvoiceDiscountType {
  @Field(() => String)
  code!: string;

  @Field(() => String)
  name!: string;
}

@ObjectType('InvoiceTax', { description: 'What one rate adds to an invoice or, inclusive, is contained in it' })
export class InvoiceTaxType {
  @Field(() => String)
  name!: string;

  @Field(() => DecimalScalar, { description: '19 for 19 %' })
  percent!: string;

  @Field(() => Boolean)
  inclusive!: boolean;
}

@ObjectType('Invoice', { implements: NodeType })
export class InvoiceType extends NodeType {
  @Field(() => String, { nullable: true, description: 'Assigned when it is finalised, without gaps per account' })
  number?: string | null;

  @Field(() => InvoiceStatus)
  status!: Invoice['status'];

  @Field(() => DateTime, { nullable: true })
  issuedAt?: Date | null;

  @Field(() => DateTime, { nullable: true })
  dueAt?: Date | null;

  @Field(() => CurrencyScalar)
  currency!: string;

  @Field(() => DateTime, { nullable: true })
  nextPaymentAttemptAt?: Date | null;

  @Field(() => Boolean)
  taxExempt!: boolean;
}

const InvoiceConnection = connectionType('Invoice', () => InvoiceType);

@ObjectType('InvoicePayload')
export class InvoicePayload extends MutationPayload {
  @Field(() => InvoiceType, { nullable: true })
  invoice?: Invoice | undefined;
}

@InputType('InvoiceIdInput')
export class InvoiceIdInput extends IdempotentInput {
  @Field(() => ID)
  invoiceId!: string;
}

/** A line with the currency of its invoice, which the line itself doesn't repeat. */
export type LineView = InvoiceLine & { currency: string };

type DiscountView = InvoiceDiscount & { currency: string };
type TaxView = InvoiceTax & { currency: string };

/** An invoice that is stored nowhere and brings its own lines: what a preview shows. */
export type DraftInvoice = Invoice & { draftLines: LineView[] };

/** What was decided but not stored, for showing. */
export const draftView = ({ invoice, lines }: DecidedInvoice): DraftInvoice => ({
  ...invoice,
  draftLines: lines.map((line) => ({ ...line, currency: invoice.currency })),
});

const periodOf = ({
  periodStart,
  periodEnd,
}: {
  periodStart?: Date | null;
  periodEnd?: Date | null;
}): PeriodType | null => (periodStart && periodEnd ? { start: periodStart, end: periodEnd } : null);

@Resolver(() => InvoiceLineType)
export class InvoiceLineResolver {
  @FieldResolver(() => ID)
  id(@Root() line: LineView): string {
    return publicId('invoiceLine', line.id);
  }

  @FieldResolver(() => PeriodType, { nullable: true })
  period(@Root() line: LineView): PeriodType | null {
    return periodOf(line);
  }

  @FieldResolver(() => DecimalScalar)
  quantity(@Root() line: LineView): Decimal {
    return new Decimal(line.quantity);
  }

  @FieldResolver(() => DecimalScalar, { nullable: true })
  unitAmount(@Root() line: LineView): Decimal | null {
    return line.unitAmount == null ? null : new Decimal(line.unitAmount);
  }

  @FieldResolver(() => MoneyType)
  amount(@Root() line: LineView): MoneyType {
    return moneyOf(line.amountMinor, line.currency);
  }

  @FieldResolver(() => MoneyType, { description: 'What coupons take off the amount' })
  discount(@Root() line: LineView): MoneyType {
    return moneyOf(line.discountMinor, line.currency);
  }

  @FieldResolver(() => InvoiceLineKind)
  kind(@Root() line: LineView): Uppercase<InvoiceLine['kind']> {
    return line.kind.toUpperCase() as Uppercase<InvoiceLine['kind']>;
  }
}

@Resolver(() => InvoiceDiscountType)
export class InvoiceDiscountResolver {
  @FieldResolver(() => MoneyType)
  amount(@Root() discount: DiscountView): MoneyType {
    return moneyOf(BigInt(discount.amountMinor), discount.currency);
  }
}

@Resolver(() => InvoiceTaxType)
export class InvoiceTaxResolver {
  @FieldResolver(() => MoneyType, { description: 'What it is reckoned on, without any tax' })
  taxable(@Root() tax: TaxView): MoneyType {
    return moneyOf(BigInt(tax.taxableMinor), tax.currency);
  }

  @FieldResolver(() => MoneyType)
  amount(@Root() tax: TaxView): MoneyType {
    return moneyOf(BigInt(tax.amountMinor), tax.currency);
  }
}

@Resolver(() => InvoiceType)
export class InvoiceResolver {
  @FieldResolver(() => ID)
  id(@Root() invoice: Invoice): string {
    return publicId('invoice', invoice.id);
  }

  @FieldResolver(() => PeriodType, { nullable: true })
  period(@Root() invoice: Invoice): PeriodType | null {
    return periodOf(invoice);
  }

  @FieldResolver(() => MoneyType)
  subtotal(@Root() invoice: Invoice): MoneyType {
    return moneyOf(invoice.subtotalMinor, invoice.currency);
  }

  @FieldResolver(() => MoneyType)
  discount(@Root() invoice: Invoice): MoneyType {
    return moneyOf(invoice.discountMinor, invoice.currency);
  }

  @FieldResolver(() => [InvoiceDiscountType])
  discounts(@Root() invoice: Invoice): DiscountView[] {
    return discountsShown(invoice).map((discount) => ({ ...discount, currency: invoice.currency }));
  }

  @FieldResolver(() => [InvoiceTaxType])
  taxes(@Root() invoice: Invoice): TaxView[] {
    return invoice.taxes.map((tax) => ({ ...tax, currency: invoice.currency }));
  }

  @FieldResolver(() => DateTime, { nullable: true, description: 'DRAFT: when it is finalised by itself' })
  finalizesAt(@Root() invoice: Invoice): Date | null {
    return invoice.finalizeAt ?? null;
  }

  @FieldResolver(() => MoneyType, { description: 'Sum of its credit notes' })
  creditNoted(@Root() invoice: Invoice): MoneyType {
    return moneyOf(invoice.creditNotedMinor, invoice.currency);
  }

  @FieldResolver(() => MoneyType)
  tax(@Root() invoice: Invoice): MoneyType {
    return moneyOf(invoice.taxMinor, invoice.currency);
  }

  @FieldResolver(() => MoneyType)
  total(@Root() invoice: Invoice): MoneyType {
    return moneyOf(invoice.totalMinor, invoice.currency);
  }

  @FieldResolver(() => MoneyType)
  creditApplied(@Root() invoice: Invoice): MoneyType {
    return moneyOf(invoice.creditAppliedMinor, invoice.currency);
  }

  @FieldResolver(() => MoneyType)
  walletApplied(@Root() invoice: Invoice): MoneyType {
    return moneyOf(invoice.walletAppliedMinor, invoice.currency);
  }

  @FieldResolver(() => MoneyType)
  amountPaid(@Root() invoice: Invoice): MoneyType {
    return moneyOf(invoice.amountPaidMinor, invoice.currency);
  }

  @FieldResolver(() => MoneyType)
  amountDue(@Root() invoice: Invoice): MoneyType {
    return moneyOf(invoice.amountDueMinor, invoice.currency);
  }

  @FieldResolver(() => [InvoiceLineType])
  async lines(@Root() invoice: Invoice | DraftInvoice, @Ctx() { scope }: Context): Promise<LineView[]> {
    if ('draftLines' in invoice) return invoice.draftLines;
    const lines = (await load(scope, linesByInvoiceIds, invoice.accountId, invoice.id)) ?? [];
    return lines.map((line) => ({ ...line, currency: invoice.currency }));
  }

  @FieldResolver(() => [PaymentType])
  async payments(@Root() invoice: Invoice, @Ctx() { scope }: Context): Promise<Payment[]> {
    return (await load(scope, paymentsBySubjectIds, invoice.accountId, invoice.id)) ?? [];
  }

  @FieldResolver(() => String)
  pdfUrl(@Root() invoice: Invoice, @Ctx() { deps }: Context): string {
    return deps.publicUrl() + invoicePdfPath(invoice.id);
  }

  @Query(() => InvoiceType, { nullable: true })
  async invoice(@Arg('id', () => ID) id: string, @Ctx() { scope, actor }: Context): Promise<Invoice | null> {
    requireScope(actor, 'invoices:read');
    const uuid = uuidOf('invoice', id);
    return uuid === undefined ? null : ((await load(scope, invoicesByIds, actor.accountId, uuid)) ?? null);
  }

  @Query(() => InvoiceConnection)
  invoices(
    @Arg('first', () => Int, { nullable: true, defaultValue: 20 }) first: number | null,
    @Arg('after', () => String, { nullable: true }) after: string | undefined,
    @Arg('status', () => [InvoiceStatus], { nullable: true }) status: Invoice['status'][] | undefined,
    @Ctx() { scope, actor }: Context,
  ): Promise<Connection<Invoice>> {
    requireScope(actor, 'invoices:read');
    return listInvoices(scope.em, actor.accountId, { first, after, status });
  }

  @Mutation(() => InvoicePayload)
  payInvoice(
    @Arg('input', () => InvoiceIdInput) input: InvoiceIdInput,
    @Ctx() { deps, actor, scope }: Context,
  ): Promise<InvoicePayload> {
    return payload(async () => {
      const { invoiceId, replayed, error } = await payInvoice(deps, actor, { ...input });
      return { invoice: await load(scope, invoicesByIds, actor.accountId, invoiceId), replayed, error };
    });
  }

  @Subscription(() => InvoiceType, {
    description:
      'The newest invoice now, then each invoice when it has changed, in its newest state; with `after` (the cursor of an event) first those that have changed since',
    subscribe: ({ args, context: { deps, actor } }: { args: { after?: string }; context: Context }) => {
      requireScope(actor, 'invoices:read');
      return watchedInvoices(deps, { accountId: actor.accountId, after: sequenceAfter(args.after) });
    },
  })
  invoiceUpdated(
    @Arg('after', () => String, { nullable: true }) _after: string | undefined,
    @Root() invoice: Invoice,
  ): Invoice {
    return invoice;
  }
}
