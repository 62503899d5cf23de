/** What follows `--name`. */
export function text(name: string, otherwise: string): string {
  const at = process.argv.indexOf(`--${name}`);
  if (at < 0) return otherwise;
  const value = process.argv[at + 1];
  if (value === undefined) throw new Error(`--${name} is followed by nothing`);
  return value;
}

/** Whole numbers behind `--name`. */
export function option(name: string, otherwise: number): number {
  const value = Number(text(name, String(otherwise)));
  if (!Number.isSafeInteger(value) || value < 0)
    throw new Error(`--${name} is ${text(name, '')}, expected a whole number`);
  return value;
}
