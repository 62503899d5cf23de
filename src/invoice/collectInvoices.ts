import { keepFromSweep } from '../payment/charge.js';
import type { Deps } from '../platform/deps.js';
import { collectInvoice } from './collectInvoice.js';

/** Calls to the provider at a time. */
const atOnce = 8;

/** Well within the time a payment may wait to be sent, and short enough that one missed turn doesn't matter. */
const keepEveryMs = 3_000;

interface Intended {
  accountId: string;
  paymentId: string;
}

/**
 * Charges and settles many intended payments of invoices, a few at a time. Those that wait are kept from the sweep meanwhile;
 * when this process dies they are its within half a minute. One that fails is logged and left to the sweep as well.
 */
export async function collectInvoices(
  deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>,
  intended: readonly Intended[],
): Promise<void> {
  const waiting = [...intended];
  const keep = async (): Promise<void> => {
    if (waiting.length === 0) return;
    await keepFromSweep(deps, waiting).catch((error: unknown) =>
      deps.log.warn({ err: error }, 'payments that wait could not be kept from the sweep'),
    );
  };
  await keep(); // a transaction that took long has used up the time in which they may be sent
  const timer = setInterval(() => void keep(), keepEveryMs);
  const collect = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      try {
        await collectInvoice(deps, next);
      } catch (error) {
        deps.log.error({ err: error, ...next }, 'a payment could not be collected; the sweep looks after it');
      }
    }
  };
  try {
    await Promise.all(Array.from({ length: atOnce }, collect));
  } finally {
    clearInterval(timer);
  }
}
