import fc from 'fast-check';
import { retryDelayMs, webhookRetryAfterMs } from '../../src/domain/backoff.js';

test('without jitter the pauses are 5 s, 5 m, 30 m, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h, and then no more', () => {
  const pausesInSeconds = Array.from({ length: 10 }, (_, i) => {
    const delayMs = retryDelayMs({ attempt: i + 1, random: 0.5 });
    return delayMs === undefined ? undefined : delayMs / 1000;
  });
  expect(pausesInSeconds).toEqual([5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400, undefined]);
});

test('jitter spreads a pause over ±20 %', () => {
  expect(retryDelayMs({ attempt: 1, random: 0 })).toBe(4000);
  expect(retryDelayMs({ attempt: 1, random: 1 })).toBe(6000);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 9 }), fc.double({ min: 0, max: 1, noNaN: true }), (attempt, random) => {
      const pauseMs = webhookRetryAfterMs[attempt - 1]!;
      const delayMs = retryDelayMs({ attempt, random })!;
      expect(Number.isInteger(delayMs)).toBe(true);
      expect(Math.abs(delayMs - pauseMs)).toBeLessThanOrEqual(pauseMs * 0.2);
    }),
  );
});
