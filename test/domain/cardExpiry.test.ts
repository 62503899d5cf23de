import { expiryNoticeAt } from '../../src/domain/cardExpiry.js';

test.each([
  // The last day of the month is 31 Dec, good until midnight; 30 days before that midnight is 2 Dec.
  [12, 2026, 'UTC', '2026-12-02T00:00:00.000Z'],
  [12, 2026, 'Europe/Berlin', '2026-12-01T23:00:00.000Z'],
  [12, 2026, 'Pacific/Kiritimati', '2026-12-01T10:00:00.000Z'],
  [1, 2027, 'UTC', '2027-01-02T00:00:00.000Z'],
  [2, 2027, 'UTC', '2027-01-30T00:00:00.000Z'],
  [2, 2028, 'UTC', '2028-01-31T00:00:00.000Z'],
  // Clocks go forward in between: 30 days of the calendar, not 720 hours.
  [4, 2026, 'America/New_York', '2026-04-01T04:00:00.000Z'],
  [3, 2026, 'Europe/Berlin', '2026-03-01T23:00:00.000Z'],
])('a card that expires %i/%i is announced in %s at %s', (expMonth, expYear, timeZone, at) => {
  expect(expiryNoticeAt({ expMonth, expYear, timeZone })).toEqual(new Date(at));
});
