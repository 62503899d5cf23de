import type { BatchFunction } from '../platform/batch.js';
import { Refund } from './payment.entity.js';

export const refundsByIds: BatchFunction<Refund> = async (em, accountId, ids) =>
  new Map(
    (await em.find(Refund, { accountId, id: { $in: [...ids] } }, { disableIdentityMap: true })).map((refund) => [
      refund.id,
      refund,
    ]),
  );
