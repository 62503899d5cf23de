import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type ProviderEvent, ProviderUnavailable, UntrustedEvent } from '../integrations/payments/provider.js';
import { settlersOf } from '../invoice/settlers.js';
import { applyProviderEvent } from '../payment/applyProviderEvent.js';
import type { Deps } from '../platform/deps.js';
import { billingErrorOf, doors } from './errors.js';

export const stripeWebhookPath = '/webhooks/stripe';

const bodyLimitBytes = 1_000_000;

/** Stripe wants an answer soon; what takes longer it sends again. */
const deadlineMs = 1_500;

/**
 * Where the payment provider tells us its news. Only there when there is a secret to check them with. 200: taken, or no
 * business of ours; 400: not from the provider; 503: not now, to be sent again.
 */
export function registerProviderWebhook(app: FastifyInstance, deps: Deps): void {
  const verify = deps.payments.events?.verify;
  if (!verify) return;
  void app.register(async (scope) => {
    // The signature is over the bytes as they came.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', { parseAs: 'buffer' }, async (_request: FastifyRequest, bytes: Buffer) => bytes);
    scope.post(stripeWebhookPath, { bodyLimit: bodyLimitBytes }, async (request, reply) => {
      const signature = request.headers['stripe-signature']?.toString() ?? '';
      const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
      let event: ProviderEvent | undefined;
      try {
        event = await verify({ body, signature });
        await applyProviderEvent(deps, settlersOf, { event, deadlineMs });
        return { received: true };
      } catch (error) {
        if (error instanceof UntrustedEvent) return reply.code(400).send({ error: error.message });
        const isAway = error instanceof ProviderUnavailable;
        const status = isAway ? 503 : doors[billingErrorOf(error, request.id).code].http;
        deps.log[status === 503 ? 'warn' : 'error'](
          { err: error, event: event?.ref, type: event?.type, requestId: request.id },
          'an event of the payment provider could not be taken; it is sent again',
        );
        return reply.code(status).header('retry-after', '5').send({ error: 'Not taken: send it again' });
      }
    });
  });
}
