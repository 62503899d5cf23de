import { createHmac } from 'node:crypto';
import { WebhookVerificationError } from 'standardwebhooks';
import { createSecret, signatureHeaders, verifyWebhook } from '../../src/webhook/signature.js';

const body = '{"type":"invoice.paid","timestamp":"2026-01-01T00:00:00.000Z","data":{"total":"5.00 €"}}';

describe('a secret', () => {
  test('is whsec_ and the base64 of 24 to 64 random bytes', () => {
    const secret = createSecret();
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]+=*$/);
    const bytes = Buffer.from(secret.slice('whsec_'.length), 'base64').length;
    expect(bytes).toBeGreaterThanOrEqual(24);
    expect(bytes).toBeLessThanOrEqual(64);
    expect(new Set(Array.from({ length: 100 }, createSecret)).size).toBe(100);
  });
});

describe('a signature', () => {
  test('is the HMAC-SHA256 over id.timestamp.body that Standard Webhooks defines', () => {
    const secret = createSecret();
    const headers = signatureHeaders({ id: 'evt_1', at: new Date(1_767_225_600_999), body, secrets: [secret] });
    const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
    const expected = createHmac('sha256', key).update(`evt_1.1767225600.${body}`).digest('base64');
    expect(headers).toEqual({
      'webhook-id': 'evt_1',
      'webhook-timestamp': '1767225600',
      'webhook-signature': `v1,${expected}`,
    });
  });

  // The example of the reference implementations' own tests.
  test('agrees with the published example', () => {
    const headers = signatureHeaders({
      id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      at: new Date(1_614_265_330_000),
      body: '{"test": 2432232314}',
      secrets: ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
    });
    expect(headers['webhook-signature']).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
  });

  test('stands there once for each secret while they rotate, and any one of them verifies', () => {
    const [old, next, other] = [createSecret(), createSecret(), createSecret()];
    const headers = signatureHeaders({ id: 'evt_1', at: new Date(), body, secrets: [old, next] });
    expect(headers['webhook-signature']).toMatch(/^v1,\S+ v1,\S+$/);
    expect(verifyWebhook({ headers: { ...headers }, body, secret: old })).toEqual(JSON.parse(body));
    expect(verifyWebhook({ headers: { ...headers }, body, secret: next })).toEqual(JSON.parse(body));
    expect(() => verifyWebhook({ headers: { ...headers }, body, secret: other })).toThrow(WebhookVerificationError);
  });

  test('needs a secret', () => {
    expect(() => signatureHeaders({ id: 'evt_1', at: new Date(), body, secrets: [] })).toThrow(/evt_1 has no secret/);
  });
});

describe('a delivery is refused', () => {
  const secret = createSecret();
  const sign = (at: Date) => ({ ...signatureHeaders({ id: 'evt_1', at, body, secrets: [secret] }) });

  test.each([
    ['when its body was changed', sign(new Date()), `${body} `],
    ['when its id was changed', { ...sign(new Date()), 'webhook-id': 'evt_2' }, body],
    [
      'when its time was changed',
      { ...sign(new Date(0)), 'webhook-timestamp': `${Math.floor(Date.now() / 1000)}` },
      body,
    ],
    ['when it is older than 300 s', sign(new Date(Date.now() - 310_000)), body],
    ['when it is from the future', sign(new Date(Date.now() + 310_000)), body],
    ['when it has no signature', { ...sign(new Date()), 'webhook-signature': undefined }, body],
    ['when its signature is of another version', { ...sign(new Date()), 'webhook-signature': 'v0,abc' }, body],
    ['when its signature is garbage', { ...sign(new Date()), 'webhook-signature': 'v1 , v1,é' }, body],
  ])('%s', (_when, headers, received) => {
    expect(() => verifyWebhook({ headers, body: received, secret })).toThrow(WebhookVerificationError);
  });
});
