import type { Shape, webhookEndpoint } from '../domain/resources.js';
import { lowerCase } from '../domain/shape.js';
import { publicId } from '../platform/ids.js';
import type { WebhookEndpoint } from './webhook.entity.js';

/** REST shape of an endpoint; the secret only in the answer that creates or rotates it. */
export const presentEndpoint = (
  endpoint: WebhookEndpoint,
  secret?: string,
): Shape<typeof webhookEndpoint> & { secret?: string } => ({
  id: publicId('webhookEndpoint', endpoint.id),
  url: endpoint.url,
  events: endpoint.events,
  enabled: endpoint.enabled,
  disabled_at: endpoint.disabledAt?.toISOString() ?? null,
  disabled_reason: endpoint.disabledReason ? lowerCase(endpoint.disabledReason) : null,
  failing_since: endpoint.failingSince?.toISOString() ?? null,
  created_at: endpoint.createdAt.toISOString(),
  ...(secret === undefined ? {} : { secret }),
});
