import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Webhook } from 'standardwebhooks';

/** The three headers of a signed delivery, https://www.standardwebhooks.com. */
export type SignatureHeaders = {
  'webhook-id': string;
  /** Seconds since 1970. */
  'webhook-timestamp': string;
  /** One `v1,<base64>` for each secret, separated by spaces; a receiver needs to know only one of them. */
  'webhook-signature': string;
};

const SECRET_BYTES = 32;

/** `whsec_` and the base64 of 32 random bytes; Standard Webhooks asks for 24 to 64. */
export function createSecret(): string {
  return `whsec_${randomBytes(SECRET_BYTES).toString('base64')}`;
}

/**
 * Signs `id.timestamp.body` with every secret that is valid now: two while one replaces the other, so that a receiver
 * may change over at any moment in between. `at` is the time of this attempt, `id` the same for all attempts.
 */
export function signatureHeaders(input: {
  id: string;
  at: Date;
  body: string;
  secrets: readonly string[];
}): SignatureHeaders {
  const { id, at, body, secrets } = input;
  assert(secrets.length > 0, `delivery ${id} has no secret to sign with`);
  return {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    'webhook-signature': secrets.map((secret) => new Webhook(secret).sign(id, at, body)).join(' '),
  };
}

/**
 * The parsed JSON body of a delivery that was signed with `secret` at most 300 s ago (or ahead). Throws
 * `WebhookVerificationError` of the `standardwebhooks` package for a missing header, a wrong signature or an old time.
 */
export function verifyWebhook(input: {
  /** As `node:http` gives them, names in lower case. */
  headers: Readonly<Record<string, string | string[] | undefined>>;
  /** The raw body: parsing it and writing it again would change the bytes that were signed. */
  body: string;
  secret: string;
}): unknown {
  const { headers, body, secret } = input;
  return new Webhook(secret).verify(body, {
    'webhook-id': String(headers['webhook-id'] ?? ''),
    'webhook-timestamp': String(headers['webhook-timestamp'] ?? ''),
    'webhook-signature': String(headers['webhook-signature'] ?? ''),
  });
}
