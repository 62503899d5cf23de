/** How long before a card's end its owner is told, in days. */
export const noticeDays = 30;

/**
 * When the owner of a card is told that it expires. A card is good through the last day of its month (ISO/IEC 7813 prints
 * the month only), here on the calendar of the account's time zone.
 */
export function expiryNoticeAt({
  expMonth,
  expYear,
  timeZone,
}: {
  expMonth: number;
  expYear: number;
  timeZone: string;
}): Date {
  const ends = Temporal.PlainDate.from({ year: expYear, month: expMonth, day: 1 }).add({ months: 1 });
  return new Date(ends.subtract({ days: noticeDays }).toZonedDateTime(timeZone).epochMilliseconds);
}
