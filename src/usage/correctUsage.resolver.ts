import {
  Arg,
  Ctx,
  Field,
  FieldResolver,
  InputType,
  Mutation,
  ObjectType,
  Resolver,
  Root,
  registerEnumType,
} from 'type-graphql';
import type { Metric } from '../catalog/plan.entity.js';
import { MetricType } from '../catalog/plan.resolver.js';
import { metricsByCodes } from '../catalog/plans.js';
import type { Decimal } from '../domain/decimal.js';
import type { Invoice } from '../invoice/invoice.entity.js';
import { InvoiceLineType, InvoiceType, type LineView } from '../invoice/invoice.resolver.js';
import { invoicesByIds, linesByIds } from '../invoice/invoices.js';
import { requireScope } from '../platform/actor.js';
import { load } from '../platform/batch.js';
import type { Context } from '../platform/context.js';
import { enumOf, IdempotentInput, MoneyType, MutationPayload, moneyOf, payload } from '../platform/graphqlTypes.js';
import { DateTime, DecimalScalar, JSONScalar } from '../platform/scalars.js';
import { correctionsByIds } from './corrections.js';
import { correctUsage } from './correctUsage.js';
import type { UsageProposal } from './proposals.js';
import type { UsageCorrection } from './usage.entity.js';
import { UsageSummaryType } from './usage.resolver.js';
import { CorrectionAction, UsageCorrectionType } from './usageEvents.resolver.js';
import { type UsageSummary, usageSummary } from './usageSummary.js';

const ProposalKind = enumOf(['CREDIT_NOTE', 'EXTRA_LINE'] as const);
registerEnumType(ProposalKind, { name: 'UsageProposalKind' });

@InputType('UsageCorrectionInput')
class UsageCorrectionInput {
  @Field(() => String)
  transactionId!: string;

  @Field(() => CorrectionAction)
  action!: UsageCorrection['action'];

  @Field(() => DecimalScalar, { nullable: true, description: 'With REPLACE; what is not given stays as it is' })
  value?: Decimal | null;

  @Field(() => DateTime, { nullable: true, description: 'Within the period that the event counts in' })
  timestamp?: Date | null;

  @Field(() => JSONScalar, { nullable: true })
  properties?: object | null;

  @Field(() => String, { nullable: true, description: 'Kept with the correction; at most 500 characters' })
  reason?: string | null;
}

@InputType('CorrectUsageInput')
class CorrectUsageInput extends IdempotentInput {
  @Field(() => [UsageCorrectionInput], { description: '1 to 100, each of another event; all are made or none' })
  corrections!: UsageCorrectionInput[];
}

@ObjectType('UsageProposal', {
  description: 'What a correction means for a period invoiced for good. Nothing is booked by itself',
})
class UsageProposalType {
  @Field(() => ProposalKind, {
    description: 'CREDIT_NOTE for the line when it got cheaper, EXTRA_LINE on the next invoice when dearer',
  })
  kind!: UsageProposal['kind'];
}

@ObjectType('CorrectUsagePayload')
class CorrectUsagePayload extends MutationPayload {
  @Field(() => UsageSummaryType, { nullable: true })
  usage?: UsageSummary | undefined;

  @Field(() => [UsageCorrectionType])
  corrections!: UsageCorrection[];

  @Field(() => [UsageProposalType])
  proposals!: UsageProposal[];
}

@Resolver(() => UsageProposalType)
export class UsageProposalResolver {
  @FieldResolver(() => InvoiceType, { nullable: true, description: 'Null where the period had nothing to charge' })
  async invoice(@Root() { invoiceId }: UsageProposal, @Ctx() { scope, actor }: Context): Promise<Invoice | null> {
    requireScope(actor, 'invoices:read');
    return invoiceId === null ? null : ((await load(scope, invoicesByIds, actor.accountId, invoiceId)) ?? null);
  }

  @FieldResolver(() => InvoiceLineType, { nullable: true, description: "The metric's, or that of the minimum spend" })
  async invoiceLine(
    @Root() { invoiceLineId, currency }: UsageProposal,
    @Ctx() { scope, actor }: Context,
  ): Promise<LineView | null> {
    requireScope(actor, 'invoices:read');
    const line = invoiceLineId === null ? undefined : await load(scope, linesByIds, actor.accountId, invoiceLineId);
    return line ? { ...line, currency } : null;
  }

  @FieldResolver(() => MetricType)
  metric(@Root() { metric }: UsageProposal, @Ctx() { scope, actor }: Context): Promise<Metric | undefined> {
    return load(scope, metricsByCodes, actor.accountId, metric);
  }

  @FieldResolver(() => MoneyType)
  previousAmount(@Root() { previousMinor, currency }: UsageProposal): MoneyType {
    return moneyOf(BigInt(previousMinor), currency);
  }

  @FieldResolver(() => MoneyType)
  correctedAmount(@Root() { correctedMinor, currency }: UsageProposal): MoneyType {
    return moneyOf(BigInt(correctedMinor), currency);
  }

  @FieldResolver(() => MoneyType, { description: 'Corrected less previous: below zero when it got cheaper' })
  difference(@Root() { previousMinor, correctedMinor, currency }: UsageProposal): MoneyType {
    return moneyOf(BigInt(correctedMinor) - BigInt(previousMinor), currency);
  }

  @FieldResolver(() => MoneyType, {
    description:
      'What the credit note or extra line is over, before tax: of more use what passes the minimum spend, of less use what is above it; of a credit, coupons are off, and it is at most what is left to credit',
  })
  amount(@Root() { amountMinor, currency }: UsageProposal): MoneyType {
    return moneyOf(BigInt(amountMinor), currency);
  }
}

@Resolver()
export class CorrectUsageResolver {
  @Mutation(() => CorrectUsagePayload, {
    description:
      'Takes usage events back or changes what they say, and proposes what follows for invoices that are final. Needs the scope usage:correct',
  })
  correctUsage(
    @Arg('input', () => CorrectUsageInput) { idempotencyKey, corrections }: CorrectUsageInput,
    @Ctx() { deps, actor, scope }: Context,
  ): Promise<CorrectUsagePayload> {
    return payload(async () => {
      const { correctionIds, proposals, replayed } = await correctUsage(deps, actor, {
        idempotencyKey,
        corrections: corrections.map((correction) => ({ ...correction, value: correction.value?.toFixed() })),
      });
      const made = await correctionsByIds(scope.em, actor.accountId, correctionIds);
      return {
        usage: await usageSummary(scope.em, { accountId: actor.accountId, clock: deps.clock }),
        corrections: correctionIds.map((id) => made.get(id)!),
        proposals,
        replayed,
      };
    }).then((answer) => ({ ...answer, corrections: answer.corrections ?? [], proposals: answer.proposals ?? [] }));
  }
}
