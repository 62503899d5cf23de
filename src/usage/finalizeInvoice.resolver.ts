import { Arg, Ctx, Mutation, Resolver } from 'type-graphql';
import { InvoiceIdInput, InvoicePayload } from '../invoice/invoice.resolver.js';
import { invoicesByIds } from '../invoice/invoices.js';
import { load } from '../platform/batch.js';
import type { Context } from '../platform/context.js';
import { payload } from '../platform/graphqlTypes.js';
import { finalizeInvoice } from './finalizeInvoice.js';

@Resolver()
export class FinalizeInvoiceResolver {
  @Mutation(() => InvoicePayload, { description: 'For operators: ends the grace period of a DRAFT now' })
  finalizeInvoice(
    @Arg('input', () => InvoiceIdInput) input: InvoiceIdInput,
    @Ctx() { deps, actor, scope }: Context,
  ): Promise<InvoicePayload> {
    return payload(async () => {
      const { invoiceId, replayed } = await finalizeInvoice(deps, actor, { ...input });
      return { invoice: await load(scope, invoicesByIds, actor.accountId, invoiceId), replayed };
    });
  }
}
