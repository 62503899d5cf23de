import type Stripe from 'stripe';
import { ProviderMisuse, ProviderUnavailable } from './provider.js';

export interface StripeAccess {
  secretKey: string;
  /** Another host than Stripe's, for tests: `http://127.0.0.1:12111`. */
  apiBase?: string | undefined;
  /** Less than callers wait for any call, so that the connection is closed when they give up. */
  timeoutMs?: number;
  /** Told when Stripe doesn't accept the key: nothing works until somebody sets another one. */
  onRejectedKey?: ((message: string) => void) | undefined;
}

/** Asks Stripe. Card errors come through as they are, all others as what they mean to billing. */
export type AskStripe = <T>(call: (stripe: Stripe) => Promise<T>) => Promise<T>;

/** Stripe found the request itself wrong; `code` and `param` say in what. */
export class StripeRefusal extends ProviderMisuse {
  constructor(
    message: string,
    readonly code: string | undefined,
    readonly param: string | undefined,
  ) {
    super(message);
  }
}

/**
 * The SDK is loaded at the first call: it is large, and most processes never charge by it. It must not retry by itself: who
 * calls knows what to do with an unknown outcome. (It sends once more after a closed connection all the same; every POST
 * therefore bears a key of ours, stored before the call.)
 */
export function createStripeClient({ secretKey, apiBase, timeoutMs = 15_000, onRejectedKey }: StripeAccess): {
  stripe: () => Promise<Stripe>;
  ask: AskStripe;
} {
  let loading: Promise<Stripe> | undefined;
  const load = async (): Promise<Stripe> => {
    const { default: StripeSdk } = await import('stripe');
    return new StripeSdk(secretKey, {
      ...(apiBase === undefined ? {} : hostOf(apiBase)),
      maxNetworkRetries: 0,
      timeout: timeoutMs,
      telemetry: false,
    });
  };
  const stripe = (): Promise<Stripe> => {
    loading ??= load();
    return loading;
  };
  return {
    stripe,
    ask: async (call) => {
      const client = await stripe();
      try {
        return await call(client);
      } catch (error) {
        throw translate(error, onRejectedKey);
      }
    },
  };
}

function hostOf(apiBase: string): { host: string; port: string; protocol: 'http' | 'https' } {
  const { hostname, port, protocol } = new URL(apiBase);
  return {
    host: hostname,
    port: port || (protocol === 'http:' ? '80' : '443'),
    protocol: protocol === 'http:' ? 'http' : 'https',
  };
}

export const isCardError = (error: unknown): error is Stripe.errors.StripeCardError =>
  (error as { type?: unknown } | null)?.type === 'StripeCardError';

/** Was this answer stored under the key, and tells of an earlier time? */
export const isReplayed = (headers: Record<string, string> | undefined): boolean =>
  headers?.['idempotent-replayed'] === 'true';

/** The SDK's error is not kept as a cause: it carries the whole answer, and with it the client secret, into any log. */
function translate(error: unknown, onRejectedKey: StripeAccess['onRejectedKey']): unknown {
  const { type, message, code, param, statusCode, requestId } = error as Partial<Stripe.errors.StripeError>;
  const what = [type, statusCode, code, requestId].filter(Boolean).join(' ');
  switch (type) {
    case 'StripeCardError':
      return error;
    case 'StripeInvalidRequestError':
      return new StripeRefusal(message ?? 'Stripe refused the request', code, param);
    case 'StripeIdempotencyError':
      return new ProviderMisuse('Idempotency key reused with other parameters');
    case 'StripeAuthenticationError':
    case 'StripePermissionError':
      onRejectedKey?.(
        'Stripe does not accept STRIPE_SECRET_KEY: no payment can be made until it is set to a valid key',
      );
      return new ProviderUnavailable(`Stripe does not accept the secret key (${what})`);
    case 'StripeConnectionError':
    case 'StripeAPIError':
    case 'StripeRateLimitError':
      return new ProviderUnavailable(`Stripe gave no usable answer (${what})`);
    default:
      return error;
  }
}
