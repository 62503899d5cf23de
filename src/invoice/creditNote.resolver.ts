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
} from 'type-graphql';
import type { Refund } from '../payment/payment.entity.js';
import { RefundType } from '../payment/refund.resolver.js';
import { requireScope } from '../platform/actor.js';
import { load } from '../platform/batch.js';
import { type Connection, connectionType } from '../platform/connection.js';
import type { Context } from '../platform/context.js';
import {
  enumOf,
  IdempotentInput,
  MoneyInput,
  MoneyType,
  MutationPayload,
  moneyFrom,
  moneyOf,
  NodeType,
  payload,
} from '../platform/graphqlTypes.js';
import { publicId, uuidOf } from '../platform/ids.js';
import { CurrencyScalar, DateTime } from '../platform/scalars.js';
import { createCreditNote } from './createCreditNote.js';
import { type CreditNote, type CreditNoteLine, creditNoteKinds, creditNoteStatuses } from './creditNote.entity.js';
import { creditNotePdfPath } from './creditNote.present.js';
import {
  creditNotesByIds,
  creditNotesByInvoiceIds,
  linesByCreditNoteIds,
  listCreditNotes,
  refundsByCreditNoteIds,
} from './creditNotes.js';
import type { Invoice } from './invoice.entity.js';
import { InvoiceType } from './invoice.resolver.js';
import { invoicesByIds } from './invoices.js';
import { voidCreditNote } from './voidCreditNote.js';

const CreditNoteKind = enumOf(creditNoteKinds);
registerEnumType(CreditNoteKind, {
  name: 'CreditNoteKind',
  description: 'Where it goes once nothing is due any more: CREDIT pays later invoices, REFUND goes back to what paid',
});
const CreditNoteStatus = enumOf(creditNoteStatuses);
registerEnumType(CreditNoteStatus, { name: 'CreditNoteStatus' });

@ObjectType('CreditNoteLine')
export class CreditNoteLineType {
  @Field(() => String)
  description!: string;
}

@ObjectType('CreditNote', { implements: NodeType })
export class CreditNoteType extends NodeType {
  @Field(() => String, { description: 'Without gaps per account' })
  number!: string;

  @Field(() => CreditNoteKind)
  kind!: CreditNote['kind'];

  @Field(() => CreditNoteStatus)
  status!: CreditNote['status'];

  @Field(() => String)
  reason!: string;

  @Field(() => CurrencyScalar)
  currency!: string;

  @Field(() => DateTime)
  issuedAt!: Date;

  @Field(() => DateTime, { nullable: true })
  voidedAt?: Date | null;
}

const CreditNoteConnection = connectionType('CreditNote', () => CreditNoteType);

@ObjectType('CreditNotePayload')
class CreditNotePayload extends MutationPayload {
  @Field(() => CreditNoteType, { nullable: true })
  creditNote?: CreditNote | undefined;
}

@InputType('CreditNoteLineInput')
class CreditNoteLineInput {
  @Field(() => ID)
  invoiceLineId!: string;

  @Field(() => MoneyInput, { description: 'Before tax that comes on top; what the line has after discounts at most' })
  amount!: MoneyInput;
}

@InputType('CreateCreditNoteInput')
class CreateCreditNoteInput extends IdempotentInput {
  @Field(() => ID)
  invoiceId!: string;

  @Field(() => CreditNoteKind)
  kind!: CreditNote['kind'];

  @Field(() => String)
  reason!: string;

  @Field(() => [CreditNoteLineInput], { nullable: true, description: 'Absent: everything that is left of the invoice' })
  lines?: CreditNoteLineInput[] | null;
}

@InputType('CreditNoteIdInput')
class CreditNoteIdInput extends IdempotentInput {
  @Field(() => ID)
  creditNoteId!: string;
}

/** A line with the currency of its note, which the line itself doesn't repeat. */
type LineView = CreditNoteLine & { currency: string };

@Resolver(() => CreditNoteLineType)
export class CreditNoteLineResolver {
  @FieldResolver(() => ID)
  invoiceLineId(@Root() line: LineView): string {
    return publicId('invoiceLine', line.invoiceLineId);
  }

  @FieldResolver(() => MoneyType)
  amount(@Root() line: LineView): MoneyType {
    return moneyOf(line.amountMinor, line.currency);
  }
}

@Resolver(() => CreditNoteType)
export class CreditNoteResolver {
  @FieldResolver(() => ID)
  id(@Root() note: CreditNote): string {
    return publicId('creditNote', note.id);
  }

  @FieldResolver(() => InvoiceType)
  async invoice(@Root() note: CreditNote, @Ctx() { scope }: Context): Promise<Invoice> {
    return (await load(scope, invoicesByIds, note.accountId, note.invoiceId))!;
  }

  @FieldResolver(() => [CreditNoteLineType])
  async lines(@Root() note: CreditNote, @Ctx() { scope }: Context): Promise<LineView[]> {
    const lines = (await load(scope, linesByCreditNoteIds, note.accountId, note.id)) ?? [];
    return lines.map((line) => ({ ...line, currency: note.currency }));
  }

  @FieldResolver(() => [RefundType])
  async refunds(@Root() note: CreditNote, @Ctx() { scope }: Context): Promise<Refund[]> {
    return (await load(scope, refundsByCreditNoteIds, note.accountId, note.id)) ?? [];
  }

  @FieldResolver(() => MoneyType)
  subtotal(@Root() note: CreditNote): MoneyType {
    return moneyOf(note.subtotalMinor, note.currency);
  }

  @FieldResolver(() => MoneyType)
  tax(@Root() note: CreditNote): MoneyType {
    return moneyOf(note.taxMinor, note.currency);
  }

  @FieldResolver(() => MoneyType)
  total(@Root() note: CreditNote): MoneyType {
    return moneyOf(note.totalMinor, note.currency);
  }

  @FieldResolver(() => MoneyType, { description: 'Of the total: what lowered the amount due of its own invoice' })
  appliedToInvoice(@Root() note: CreditNote): MoneyType {
    return moneyOf(note.appliedToInvoiceMinor, note.currency);
  }

  @FieldResolver(() => MoneyType, { description: 'Of the total: what went back to cards, or is on its way there' })
  refunded(@Root() note: CreditNote): MoneyType {
    return moneyOf(note.refundedMinor, note.currency);
  }

  @FieldResolver(() => MoneyType, { description: 'Of the total: what went back to the wallet' })
  returnedToWallet(@Root() note: CreditNote): MoneyType {
    return moneyOf(note.returnedToWalletMinor, note.currency);
  }

  @FieldResolver(() => MoneyType, { description: 'What is left of it for later invoices' })
  balance(@Root() note: CreditNote): MoneyType {
    return moneyOf(note.balanceMinor, note.currency);
  }

  @FieldResolver(() => String)
  pdfUrl(@Root() note: CreditNote, @Ctx() { deps }: Context): string {
    return deps.publicUrl() + creditNotePdfPath(note.id);
  }

  @Query(() => CreditNoteType, { nullable: true })
  async creditNote(@Arg('id', () => ID) id: string, @Ctx() { scope, actor }: Context): Promise<CreditNote | null> {
    requireScope(actor, 'invoices:read');
    const uuid = uuidOf('creditNote', id);
    return uuid === undefined ? null : ((await load(scope, creditNotesByIds, actor.accountId, uuid)) ?? null);
  }

  @Query(() => CreditNoteConnection)
  creditNotes(
    @Arg('first', () => Int, { nullable: true, defaultValue: 20 }) first: number | null,
    @Arg('after', () => String, { nullable: true }) after: string | undefined,
    @Ctx() { scope, actor }: Context,
  ): Promise<Connection<CreditNote>> {
    requireScope(actor, 'invoices:read');
    return listCreditNotes(scope.em, actor.accountId, { first, after });
  }

  @Mutation(() => CreditNotePayload, { description: 'Takes back (part of) a finalised invoice. For operators' })
  createCreditNote(
    @Arg('input', () => CreateCreditNoteInput) input: CreateCreditNoteInput,
    @Ctx() context: Context,
  ): Promise<CreditNotePayload> {
    return answer(context, () =>
      createCreditNote(context.deps, context.actor, {
        ...input,
        lines: input.lines?.map(({ invoiceLineId, amount }, i) => ({
          invoiceLineId,
          amount: moneyFrom(amount, 'lines', String(i), 'amount'),
        })),
      }),
    );
  }

  @Mutation(() => CreditNotePayload, {
    description: 'Takes back a credit note while all of it is unused. For operators',
  })
  voidCreditNote(
    @Arg('input', () => CreditNoteIdInput) input: CreditNoteIdInput,
    @Ctx() context: Context,
  ): Promise<CreditNotePayload> {
    return answer(context, () => voidCreditNote(context.deps, context.actor, { ...input }));
  }
}

const answer = (
  { scope, actor }: Context,
  change: () => Promise<{ creditNoteId: string; replayed: boolean }>,
): Promise<CreditNotePayload> =>
  payload(async () => {
    const { creditNoteId, replayed } = await change();
    return { creditNote: await load(scope, creditNotesByIds, actor.accountId, creditNoteId), replayed };
  });

@Resolver(() => InvoiceType)
export class InvoiceCreditNotesResolver {
  @FieldResolver(() => [CreditNoteType], { description: 'What was taken back of it, in the order of their numbers' })
  async creditNotes(@Root() invoice: Invoice, @Ctx() { scope }: Context): Promise<CreditNote[]> {
    return (await load(scope, creditNotesByInvoiceIds, invoice.accountId, invoice.id)) ?? [];
  }
}
