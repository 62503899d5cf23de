import { ProviderUnavailable } from '../integrations/payments/provider.js';

/** How long any call to the provider may last; what comes later counts as no answer. */
export const providerDeadlineMs = 20_000;

/**
 * Waits for a call to the provider, but not for ever: past the deadline it throws `ProviderUnavailable`, which means for a
 * charge that its outcome is unknown.
 */
export async function callProvider<T>(call: Promise<T>, deadlineMs: number = providerDeadlineMs): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new ProviderUnavailable(`The payment provider gave no answer in ${deadlineMs} ms`)),
      deadlineMs,
    );
  });
  try {
    return await Promise.race([call, tooLate]);
  } finally {
    clearTimeout(timer);
  }
}
