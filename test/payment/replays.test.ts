import { publicId } from '../../src/platform/ids.js';
import { createWebhookEndpoint, deleteWebhookEndpoint } from '../../src/webhook/endpoints.js';
import { freshKey } from '../support/billing.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ worker: false });
});
afterAll(() => world.stop());

test('a webhook endpoint: a repeat answers the same when its target would now be refused', async () => {
  const { actor } = await world.account();
  const input = { idempotencyKey: freshKey(), url: 'http://localhost:9/hook' };
  const first = await createWebhookEndpoint(world.deps, actor, input);
  await deleteWebhookEndpoint(world.deps, actor, { webhookEndpointId: publicId('webhookEndpoint', first.endpointId) });
  const strict = { ...world.deps, webhookPolicy: { allowInsecure: false } };
  expect(await createWebhookEndpoint(strict, actor, input)).toEqual({ ...first, replayed: true });
  await expect(createWebhookEndpoint(strict, actor, { ...input, url: 'http://localhost:8/' })).rejects.toMatchObject({
    code: 'IDEMPOTENCY_MISMATCH',
  });
  await expect(createWebhookEndpoint(strict, actor, { ...input, idempotencyKey: freshKey() })).rejects.toMatchObject({
    code: 'INVALID',
  });
});
