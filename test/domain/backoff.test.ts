import fc from 'fast-check';
import { isGivenUp, nextAttemptMs, retryDelayMs, webhookRetryAfterMs } from '../../src/domain/backoff.js';

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

test.each([
  ['nothing is asked', 1, null, 5],
  ['less is asked than the pause', 2, 60, 300],
  ['more is asked than the pause', 1, 600, 600],
  ['more than a day is asked', 1, 999_999, 86_400],
  ['the schedule is exhausted', 10, 600, undefined],
])('where %s, attempt %s is followed after the pause or what was asked', (_what, attempt, retryAfterSeconds, seconds) => {
  const ms = nextAttemptMs({ attempt, random: 0.5, retryAfterSeconds });
  expect(ms === undefined ? undefined : ms / 1000).toBe(seconds);
});

test('an endpoint is given up when it has only failed for five days', () => {
  const failingSince = new Date('2026-04-01T00:00:00Z');
  expect(isGivenUp({ failingSince, now: new Date('2026-04-05T23:59:59.999Z') })).toBe(false);
  expect(isGivenUp({ failingSince, now: new Date('2026-04-06T00:00:00Z') })).toBe(true);
});
