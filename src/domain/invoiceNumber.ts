/** `INV-000042`: six digits, more when the account has issued more than 999,999. `n` counts from 1, without gaps. */
export function invoiceNumber(prefix: string, n: number): string {
  if (!Number.isSafeInteger(n) || n < 1) throw new Error(`An invoice number counts 1, 2, 3 …, found ${n}`);
  return `${prefix}-${String(n).padStart(6, '0')}`;
}
