import { Arg, Ctx, Field, FieldResolver, InputType, ObjectType, Query, Resolver, Root } from 'type-graphql';
import { invalid } from '../domain/errors.js';
import type { Invoice } from '../invoice/invoice.entity.js';
import { InvoiceLineType, InvoiceType, type LineView } from '../invoice/invoice.resolver.js';
import type { Context } from '../platform/context.js';
import { MoneyType, moneyOf } from '../platform/graphqlTypes.js';
import { DateTime } from '../platform/scalars.js';
import { TopUpInput, topUpCommand } from '../wallet/wallet.resolver.js';
import { ApplyCouponInput, applyCouponCommand } from './applyCoupon.resolver.js';
import { PauseSubscriptionInput, pauseCommand, ResumeSubscriptionInput, resumeCommand } from './pause.resolver.js';
import { type PreviewInput as Command, type PreviewAnswer, preview } from './preview.js';
import {
  CancelSubscriptionInput,
  ChangePlanInput,
  cancelCommand,
  changeCommand,
  SubscribeInput,
  subscribeCommand,
} from './subscription.resolver.js';
import { draftLine } from './upcomingInvoice.js';

@ObjectType('Preview')
class PreviewType {
  @Field(() => String)
  token!: string;

  @Field(() => DateTime)
  validUntil!: Date;
}

/** `@oneOf` is set on the built schema (see api/schema), because TypeGraphQL has no option for it. */
@InputType('PreviewInput')
class PreviewInput {
  @Field(() => SubscribeInput, { nullable: true })
  subscribe?: SubscribeInput | null;

  @Field(() => ChangePlanInput, { nullable: true })
  changePlan?: ChangePlanInput | null;

  @Field(() => CancelSubscriptionInput, { nullable: true })
  cancelSubscription?: CancelSubscriptionInput | null;

  @Field(() => PauseSubscriptionInput, { nullable: true })
  pauseSubscription?: PauseSubscriptionInput | null;

  @Field(() => ResumeSubscriptionInput, { nullable: true })
  resumeSubscription?: ResumeSubscriptionInput | null;

  @Field(() => TopUpInput, { nullable: true })
  topUp?: TopUpInput | null;

  @Field(() => ApplyCouponInput, { nullable: true })
  applyCoupon?: ApplyCouponInput | null;
}

// Each by the command of its mutation: the token is bound to it.
function commandOf(input: PreviewInput): Command {
  if (input.subscribe) return { subscribe: subscribeCommand(input.subscribe) };
  if (input.changePlan) return { changePlan: changeCommand(input.changePlan) };
  if (input.cancelSubscription) return { cancelSubscription: cancelCommand(input.cancelSubscription) };
  if (input.pauseSubscription) return { pauseSubscription: pauseCommand(input.pauseSubscription) };
  if (input.resumeSubscription) return { resumeSubscription: resumeCommand(input.resumeSubscription) };
  if (input.topUp) return { topUp: topUpCommand(input.topUp) };
  if (input.applyCoupon) return { applyCoupon: applyCouponCommand(input.applyCoupon) };
  throw invalid('preview needs exactly one mutation to preview', 'input');
}

@Resolver(() => PreviewType)
export class PreviewResolver {
  @Query(() => PreviewType, {
    description: 'What a change would cost, changing nothing; `token` makes the change charge exactly this',
  })
  preview(
    @Arg('input', () => PreviewInput) input: PreviewInput,
    @Ctx() { deps, actor }: Context,
  ): Promise<PreviewAnswer> {
    return preview(deps, actor, commandOf(input));
  }

  @FieldResolver(() => MoneyType)
  dueNow(@Root() quoted: PreviewAnswer): MoneyType {
    return moneyOf(quoted.dueNowMinor, quoted.currency);
  }

  @FieldResolver(() => MoneyType, { description: 'What goes to the wallet as credit' })
  credit(@Root() quoted: PreviewAnswer): MoneyType {
    return moneyOf(quoted.creditMinor, quoted.currency);
  }

  @FieldResolver(() => [InvoiceLineType])
  lines(@Root() quoted: PreviewAnswer, @Ctx() { actor }: Context): LineView[] {
    const account = { id: actor.accountId, currency: quoted.currency };
    return quoted.lines.map((line, position) => draftLine(line, { account, invoiceId: '', position }));
  }

  @FieldResolver(() => InvoiceType, {
    nullable: true,
    description:
      'The first invoice it would make, with coupons and taxes: issued at once, or the draft where nothing is; null when there is nothing to invoice',
  })
  invoice(@Root() quoted: PreviewAnswer): Invoice | null {
    return quoted.invoice;
  }

  @FieldResolver(() => InvoiceType, {
    nullable: true,
    description:
      'The invoice that bills the current period and is not paid yet, a DRAFT or being dunned, less what is unused of its fee; null when it stays as it is',
  })
  unpaidInvoice(@Root() quoted: PreviewAnswer): Invoice | null {
    return quoted.unpaidInvoice;
  }

  @FieldResolver(() => InvoiceType, {
    nullable: true,
    description:
      'What would wait for late usage in the grace period: an estimate, collected when it becomes final; null when nothing waits',
  })
  draft(@Root() quoted: PreviewAnswer): Invoice | null {
    return quoted.draft;
  }

  @FieldResolver(() => InvoiceType, { nullable: true, description: 'The renewal that follows; null when none does' })
  nextInvoice(@Root() quoted: PreviewAnswer): Invoice | null {
    return quoted.nextInvoice;
  }
}
