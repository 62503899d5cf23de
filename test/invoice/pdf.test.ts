import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { serialize } from 'node:v8';
import { inflateSync } from 'node:zlib';
import { lastDay } from '../../src/domain/period.js';
import { type InvoiceDocument, renderInvoicePdf } from '../../src/invoice/pdf.js';
import { makePrintable } from '../../src/invoice/pdfSheet.js';
import { describeInvoice, formatMoney, formatPeriod } from '../../src/invoice/pdfText.js';

const november = { start: new Date('2026-11-01T00:00:00Z'), end: new Date('2026-12-01T00:00:00Z') };

const line = (changes: Partial<InvoiceDocument['lines'][number]> = {}): InvoiceDocument['lines'][number] => ({
  description: 'Pro plan',
  period: november,
  quantity: '1',
  unitAmount: '49',
  amountMinor: 4900n,
  proration: false,
  ...changes,
});

const invoice = (changes: Partial<InvoiceDocument> = {}): InvoiceDocument => ({
  number: 'ACME-000001',
  status: 'OPEN',
  seller: { name: 'Semaswift', lines: ['12 Harbour Street', '1015 Lausanne'] },
  customer: { name: 'Acme Corporation', lines: ['500 Market Street'] },
  currency: 'USD',
  timeZone: 'UTC',
  issuedAt: new Date('2026-12-01T00:05:00Z'),
  dueAt: new Date('2026-12-15T00:00:00Z'),
  period: november,
  lines: [line()],
  subtotalMinor: 4900n,
  discounts: [],
  taxes: [],
  taxExempt: false,
  totalMinor: 4900n,
  creditToWalletMinor: 0n,
  creditAppliedMinor: 0n,
  walletAppliedMinor: 0n,
  amountPaidMinor: 0n,
  amountDueMinor: 4900n,
  payments: [],
  ...changes,
});

const paid = invoice({
  status: 'PAID',
  discounts: [{ name: 'Spring sale', amountMinor: 490n }],
  taxes: [
    { name: 'VAT', percent: '8', inclusive: false, taxableMinor: 4410n, amountMinor: 353n },
    { name: 'Levy', percent: '0.5', inclusive: true, taxableMinor: 4410n, amountMinor: 22n },
  ],
  totalMinor: 4763n,
  creditAppliedMinor: 100n,
  walletAppliedMinor: 200n,
  amountPaidMinor: 4463n,
  amountDueMinor: 0n,
  payments: [{ at: new Date('2026-12-01T00:06:00Z'), description: 'Visa •••• 4242', amountMinor: 4463n }],
});

/** The text of each page as a reader would extract it: one line per piece of text, through the fonts' Unicode maps. */
function readPages(pdf: Buffer): string[] {
  const file = pdf.toString('latin1');
  const objects = new Map(
    Array.from(file.matchAll(/^(\d+) 0 obj\n([\s\S]*?)\nendobj$/gm), ([, id, content]) => [id!, content!]),
  );
  const inflate = (id: string): string => {
    const stream = /\nstream\n([\s\S]*)\nendstream/.exec(objects.get(id)!)![1]!;
    return inflateSync(Buffer.from(stream, 'latin1')).toString('latin1');
  };
  const unicodeOf = (fontId: string): string[] => {
    const map = inflate(/\/ToUnicode (\d+)/.exec(objects.get(fontId)!)![1]!);
    return Array.from(/beginbfrange([\s\S]*)endbfrange/.exec(map)![1]!.matchAll(/\[(.*)\]/g), ([, list]) =>
      Array.from(list!.matchAll(/<(.*?)>/g), ([, codes]) =>
        codes!.split(' ').reduce((text, code) => text + String.fromCharCode(Number.parseInt(code, 16)), ''),
      ),
    ).flat();
  };
  const pages = Array.from(objects.values()).filter((content) => content.includes('/Type /Page\n'));
  return pages.map((page) => {
    const resources = objects.get(/\/Resources (\d+)/.exec(page)![1]!)!;
    const fonts = new Map(
      Array.from(resources.matchAll(/\/(F\d+) (\d+) 0 R/g), ([, name, id]) => [name!, unicodeOf(id!)]),
    );
    const lines: string[] = [];
    let font: string[] = [];
    for (const [, name, pieces] of inflate(/\/Contents (\d+)/.exec(page)![1]!).matchAll(/\/(F\d+) |\[(.*)\] TJ/g)) {
      if (name) font = fonts.get(name)!;
      if (!pieces) continue;
      const glyphs =
        Array.from(pieces.matchAll(/<(.*?)>/g), ([, hex]) => hex)
          .join('')
          .match(/.{4}/g) ?? [];
      lines.push(glyphs.reduce((text, glyph) => text + font[Number.parseInt(glyph, 16)], '').trim());
    }
    return lines.join('\n');
  });
}

const readText = async (document: InvoiceDocument): Promise<string> =>
  readPages(await renderInvoicePdf(document)).join('\n');

describe('an invoice PDF is the same bytes for the same invoice', () => {
  test('in one process', async () => {
    const first = await renderInvoicePdf(paid);
    expect((await renderInvoicePdf(structuredClone(paid))).equals(first)).toBe(true);
    expect((await renderInvoicePdf({ ...paid, number: 'ACME-000002' })).equals(first)).toBe(false);
  });

  test('in two processes with different clocks, time zones and locales', async () => {
    const script = `
      const { renderInvoicePdf } = await import(process.argv[1]);
      const { deserialize } = await import('node:v8');
      const { createHash } = await import('node:crypto');
      const pdf = await renderInvoicePdf(deserialize(Buffer.from(process.argv[2], 'base64')));
      console.log(createHash('sha256').update(pdf).digest('hex'));`;
    const { href } = new URL('../../src/invoice/pdf.js', import.meta.url);
    const run = promisify(execFile);
    const options = { env: { ...process.env, TZ: 'Pacific/Auckland', LC_ALL: 'de_DE.UTF-8', NODE_OPTIONS: '' } };
    const input = serialize(paid).toString('base64');
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script, href, input], options);
    const here = createHash('sha256')
      .update(await renderInvoicePdf(paid))
      .digest('hex');
    expect(stdout.trim()).toBe(here);
  });

  test('its dates are those of the invoice, or the epoch before it is issued', async () => {
    const issued = (await renderInvoicePdf(paid)).toString('latin1');
    expect(issued.match(/\(D:\d{14}Z\)/g)).toEqual(['(D:20261201000500Z)', '(D:20261201000500Z)']);
    const draft = (await renderInvoicePdf(invoice({ issuedAt: null }))).toString('latin1');
    expect(draft.match(/\(D:\d{14}Z\)/g)).toEqual(['(D:19700101000000Z)', '(D:19700101000000Z)']);
  });
});

describe('an invoice PDF', () => {
  test('is an A4 page with title, author and embedded font subsets', async () => {
    const pdf = (await renderInvoicePdf(paid)).toString('latin1');
    expect(pdf.startsWith('%PDF-1.')).toBe(true);
    expect(pdf.endsWith('%%EOF\n')).toBe(true);
    expect(pdf).toContain('/MediaBox [0 0 595.28 841.89]');
    expect(pdf).toMatch(/\/Title \d+/);
    expect(pdf).toContain('\n(Invoice ACME-000001)\n');
    expect(pdf).toContain('\n(Semaswift)\n');
    expect(pdf.match(/\/FontFile2 /g)).toHaveLength(2);
    expect(pdf.length).toBeLessThan(40_000);
  });

  test('shows who, when, what and how much as extractable text', async () => {
    const shown = (await readText(paid)).split('\n');
    for (const expected of [
      'Paid',
      'ACME-000001',
      '15 Dec 2026',
      '1 Nov – 30 Nov 2026',
      '12 Harbour Street',
      'Acme Corporation',
      '$44.63 paid on 1 Dec 2026',
      'Pro plan',
      '-$4.90',
      'Amount due',
      '$0.00',
      'Visa •••• 4242',
      'Page 1 of 1',
    ]) {
      expect(shown).toContain(expected);
    }
  });

  test.each([
    ['DRAFT', 'Draft'],
    ['OPEN', 'Open'],
    ['PAID', 'Paid'],
    ['UNCOLLECTIBLE', 'Uncollectible'],
    ['VOID', 'Void'],
  ] as const)('of status %s is marked %s', async (status, mark) => {
    const shown = (await readText(invoice({ status }))).split('\n');
    expect(shown.filter((piece) => piece !== 'DRAFT').slice(0, 2)).toEqual(['Invoice', mark]);
    expect(shown.includes('DRAFT')).toBe(status === 'DRAFT');
  });

  test('with 100 lines shows each once, the table header and the page number on every page', async () => {
    const lines = Array.from({ length: 100 }, (_, i) => line({ description: `Metered item ${i + 1}.` }));
    const pdf = await renderInvoicePdf(invoice({ lines }));
    const pages = readPages(pdf);
    expect(pages.length).toBeGreaterThan(4);
    for (const [index, page] of pages.entries()) {
      expect(page).toContain('Description');
      expect(page).toContain(`Page ${index + 1} of ${pages.length}`);
    }
    const items = pages.join('\n').match(/Metered item \d+\./g);
    expect(items).toEqual(lines.map(({ description }) => description));
    expect(pages.at(-1)).toContain('Metered item 100.');
    expect(pages.at(-1)).toContain('Amount due');
    expect(pdf.length).toBeLessThan(80_000);
  });

  test.each(
    Array.from({ length: 24 }, (_, i) => i + 1),
  )('with %i lines keeps the totals with a line', async (count) => {
    const pages = readPages(await renderInvoicePdf(invoice({ lines: Array.from({ length: count }, () => line()) })));
    const ofTotals = pages.find((page) => page.includes('Subtotal'));
    expect(ofTotals).toContain('Pro plan');
    expect(ofTotals).toContain('Amount due');
  });

  test('without lines still has its totals', async () => {
    expect(await readText(invoice({ lines: [] }))).toContain('Amount due');
  });

  test('wraps a long description and a long name without losing a word', async () => {
    const words = Array.from({ length: 40 }, (_, i) => `слово${i}`).join(' ');
    const name = 'Общество с ограниченной ответственностью «Северное сияние» — филиал в городе Екатеринбурге';
    const shown = await readText(invoice({ lines: [line({ description: words })], customer: { name, lines: [] } }));
    expect(shown).not.toContain(words);
    expect(shown.replaceAll('\n', ' ')).toContain(words);
    expect(shown.replaceAll('\n', ' ')).toContain(name);
  });

  test('cuts a description that would fill the page', async () => {
    const pages = readPages(await renderInvoicePdf(invoice({ lines: [line({ description: 'word '.repeat(5000) })] })));
    expect(pages.length).toBeLessThan(3);
    expect(pages.join('\n')).toContain('…');
  });

  test.each([
    ['emoji', '🚀 Launch 👩‍👩‍👧', '� Launch �'],
    ['CJK', '請求書 東京', '��� ��'],
    ['half an emoji', 'a\uD83Db', 'a�b'],
    ['control characters', 'a\u0000\n\tb', 'a b'],
    ['Latin, Greek, Cyrillic', 'Łódź Þórshöfn Ελλάδα Ťažký Київ', 'Łódź Þórshöfn Ελλάδα Ťažký Київ'],
    ['a decomposed accent', 'Cafe\u0301', 'Café'],
  ])('with %s prints what the font has', async (_, name, shown) => {
    const party = { name, lines: [name] };
    const text = await readText(invoice({ customer: party, seller: party, lines: [line({ description: name })] }));
    expect(text.split('\n').filter((piece) => piece === shown)).toHaveLength(6);
  });

  test('survives long words of symbols, and numbers at the edge of what the database holds', async () => {
    const wild = '😀'.repeat(200) + '𝔘'.repeat(200);
    const most = `${'9'.repeat(20)}.${'9'.repeat(12)}`;
    const huge = line({ description: wild, quantity: most, unitAmount: most, amountMinor: -9007199254740991n });
    const text = await readText(invoice({ currency: 'IDR', lines: [huge], customer: { name: wild, lines: [wild] } }));
    expect(text).toContain(formatMoney(-9007199254740991n, 'IDR'));
  });
});

describe('the words of an invoice', () => {
  test.each([
    ['UTC', '2026-11-01T00:00:00Z', '2026-12-01T00:00:00Z', '1 Nov – 30 Nov 2026'],
    ['UTC', '2026-12-01T00:00:00Z', '2027-02-01T00:00:00Z', '1 Dec 2026 – 31 Jan 2027'],
    ['UTC', '2026-09-05T00:00:00Z', '2026-09-06T00:00:00Z', '5 Sep 2026'],
    ['UTC', '2026-09-05T10:00:00Z', '2026-09-05T10:00:00Z', '5 Sep 2026'],
    ['UTC', '2026-01-15T10:30:00Z', '2026-02-15T10:30:00Z', '15 Jan – 14 Feb 2026'],
    ['UTC', '2026-01-15T10:30:00Z', '2026-01-16T09:00:00Z', '15 Jan 2026'],
    ['America/New_York', '2026-11-01T04:00:00Z', '2026-12-01T05:00:00Z', '1 Nov – 30 Nov 2026'],
    ['Asia/Tokyo', '2026-10-31T15:00:00Z', '2026-11-30T15:00:00Z', '1 Nov – 30 Nov 2026'],
  ])('in %s the period from %s to %s is %s', (timeZone, start, end, expected) => {
    const period = { start: new Date(start), end: new Date(end) };
    expect(formatPeriod(period, timeZone)).toBe(expected);
    const { year, month, day } = Temporal.PlainDate.from(lastDay(period, timeZone));
    const monthName = new Date(Date.UTC(year, month - 1)).toLocaleString('en', { month: 'short', timeZone: 'UTC' });
    expect(expected.endsWith(`${day} ${monthName} ${year}`)).toBe(true);
  });

  test.each([
    [123450n, 'USD', '$1,234.50'],
    [-4900n, 'EUR', '-€49.00'],
    [1500n, 'JPY', '¥1,500'],
    [-1n, 'IDR', '-IDR\u00A00.01'],
    [-1234n, 'KWD', '-KWD\u00A01.234'],
    [9007199254740993n, 'USD', '$90,071,992,547,409.93'],
    [123456789012345678901n, 'KWD', 'KWD\u00A0123,456,789,012,345,678.901'],
  ])('%s minor units of %s are %s, to the last digit', (minorUnits, currency, expected) => {
    expect(formatMoney(minorUnits, currency)).toBe(expected);
  });

  test('a zero discount, tax, credit, wallet and payment are left out of the totals', () => {
    expect(describeInvoice(invoice()).totals.map(({ label }) => label)).toEqual(['Subtotal', 'Total', 'Amount due']);
  });

  test('an account without tax says so, and an invoice below zero where the credit went', () => {
    const credited = invoice({ taxExempt: true, subtotalMinor: -500n, creditToWalletMinor: 500n, totalMinor: 0n });
    expect(describeInvoice(credited).facts.at(-1)).toEqual({ label: 'Tax', value: 'Exempt: no tax is charged' });
    expect(describeInvoice(credited).totals.map(({ label, amount }) => `${label} ${amount}`)).toEqual([
      'Subtotal -$5.00',
      'Credited to wallet $5.00',
      'Total $0.00',
      'Amount due $49.00',
    ]);
  });

  test('what reduces the amount due is shown negative', () => {
    expect(describeInvoice(paid).totals.map(({ label, amount }) => `${label} ${amount}`)).toEqual([
      'Subtotal $49.00',
      'Spring sale -$4.90',
      'VAT 8 % on $44.10 $3.53',
      'Total $47.63',
      'contains Levy 0.5 % on $44.10 $0.22',
      'Credit applied -$1.00',
      'Wallet applied -$2.00',
      'Amount paid -$44.63',
      'Amount due $0.00',
    ]);
  });

  test.each([
    ['OPEN', {}, '$49.00 due 15 Dec 2026'],
    ['OPEN', { dueAt: null }, '$49.00 due now'],
    ['DRAFT', {}, '$49.00'],
    ['VOID', {}, 'Nothing to pay'],
    ['UNCOLLECTIBLE', {}, '$49.00 outstanding'],
    ['PAID', {}, 'Paid in full'],
  ] as const)('an invoice of status %s with %j says "%s"', (status, changes, headline) => {
    expect(describeInvoice(invoice({ ...changes, status })).headline).toBe(headline);
  });

  test('a row carries its exact quantity and unit price, its period and its proration', () => {
    const metered = line({ quantity: '128450.123456789012', unitAmount: '0.000000000001', proration: true });
    const fee = line({ unitAmount: null, period: null });
    expect(describeInvoice(invoice({ lines: [metered, fee] })).rows).toEqual([
      {
        description: 'Pro plan',
        detail: '1 Nov – 30 Nov 2026 · prorated',
        quantity: '128,450.123456789012',
        unitAmount: '$0.000000000001',
        amount: '$49.00',
      },
      { description: 'Pro plan', detail: '', quantity: '1', unitAmount: '', amount: '$49.00' },
    ]);
  });

  test('a draft without number or dates shows neither', () => {
    const { title, facts } = describeInvoice(invoice({ status: 'DRAFT', number: null, issuedAt: null, dueAt: null }));
    expect(title).toBe('Draft invoice');
    expect(facts.map(({ label }) => label)).toEqual(['Billing period', 'Currency']);
  });

  test('a character of several code points becomes one replacement', () => {
    expect(makePrintable('a👩‍👩‍👧b', (codePoint) => codePoint < 0x250)).toBe('a�b');
  });
});
