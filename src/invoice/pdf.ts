import { openSheet, pageHeightPt, pageWidthPt, type Sheet, type TextStyle } from './pdfSheet.js';
import { describeInvoice, type InvoiceDocument, type InvoiceText, type TableRow } from './pdfText.js';

export type { InvoiceDocument } from './pdfText.js';

const marginPt = 56;
const contentWidthPt = pageWidthPt - 2 * marginPt;
const rightPt = pageWidthPt - marginPt;
const footerYPt = pageHeightPt - 46;
const bottomPt = footerYPt - 26;

const ink = '#111827';
const muted = '#6b7280';
const hairline = '#e5e7eb';
interface Tone {
  text: string;
  background: string;
}
export const green: Tone = { text: '#166534', background: '#dcfce7' };
export const red: Tone = { text: '#991b1b', background: '#fee2e2' };
const statusTones: Record<InvoiceDocument['status'], Tone> = {
  DRAFT: { text: '#374151', background: '#e5e7eb' },
  OPEN: { text: '#1e40af', background: '#dbeafe' },
  PAID: green,
  UNCOLLECTIBLE: { text: '#92400e', background: '#fef3c7' },
  VOID: red,
};

const body: TextStyle = { face: 'regular', sizePt: 9, color: ink, widthPt: contentWidthPt, linesMax: 2 };
const strong: TextStyle = { ...body, face: 'bold' };
const small: TextStyle = { ...body, sizePt: 8, color: muted };

/** One of our documents, in words: what is drawn. */
export interface Paper {
  heading: 'Invoice' | 'Credit note';
  tone: Tone;
  seller: InvoiceDocument['seller'];
  customer: InvoiceDocument['customer'];
  /** Stands above the customer's name. */
  customerHeading: string;
  text: InvoiceText;
  /** The numeric columns of its table, from the right. */
  columns: readonly NumericColumn[];
  /** Stands above `text.payments`. */
  paymentsHeading: string;
  createdAt: Date;
}

/** What is being drawn, and how far down the current page it has come. */
interface Pen {
  sheet: Sheet;
  text: InvoiceText;
  yPt: number;
}

/** Draws the title with the status beside it, the seller's name opposite, and the document's dates. */
function drawHead(pen: Pen, { heading, tone, seller }: Paper): void {
  const { sheet, text } = pen;
  const title: TextStyle = { ...strong, sizePt: 24 };
  const titleWidthPt = sheet.measureWidth(heading, title);
  sheet.write(heading, { xPt: marginPt, yPt: pen.yPt }, title);

  const label: TextStyle = { ...strong, sizePt: 9.5, color: tone.text };
  const labelWidthPt = sheet.measureWidth(text.status, label);
  const pill = { xPt: marginPt + titleWidthPt + 14, yPt: pen.yPt + 6 };
  sheet.drawPill(pill, { widthPt: labelWidthPt + 20, heightPt: 19 }, tone.background);
  sheet.write(text.status, { xPt: pill.xPt + 10, yPt: pill.yPt + 4 }, label);

  const brand: TextStyle = { ...strong, sizePt: 13, color: muted, widthPt: 220, align: 'right' };
  const brandHeightPt = sheet.write(seller.name, { xPt: rightPt - 220, yPt: pen.yPt + 6 }, brand);
  pen.yPt += Math.max(46, brandHeightPt + 18);

  for (const { label, value } of text.facts) {
    sheet.write(label, { xPt: marginPt, yPt: pen.yPt }, { ...body, color: muted });
    const place = { xPt: marginPt + 96, yPt: pen.yPt };
    pen.yPt += sheet.write(value, place, { ...body, widthPt: contentWidthPt - 96 }) + 2;
  }
  pen.yPt += 22;
}

function drawParties(pen: Pen, { seller, customer, customerHeading }: Paper): void {
  const { sheet } = pen;
  const gapPt = 32;
  const widthPt = (contentWidthPt - gapPt) / 2;
  const ends = [
    { heading: 'From', party: seller, xPt: marginPt },
    { heading: customerHeading, party: customer, xPt: marginPt + widthPt + gapPt },
  ].map(({ heading, party, xPt }) => {
    let yPt = pen.yPt;
    yPt += sheet.write(heading, { xPt, yPt }, { ...small, widthPt }) + 3;
    yPt += sheet.write(party.name, { xPt, yPt }, { ...strong, widthPt, linesMax: 4 }) + 1;
    for (const line of party.lines) yPt += sheet.write(line, { xPt, yPt }, { ...body, widthPt }) + 1;
    return yPt;
  });
  pen.yPt = Math.max(...ends) + 30;
}

function drawHeadline(pen: Pen): void {
  const { sheet, text } = pen;
  pen.yPt += sheet.write(text.headline, { xPt: marginPt, yPt: pen.yPt }, { ...strong, sizePt: 17 });
  pen.yPt += sheet.write(text.note, { xPt: marginPt, yPt: pen.yPt + 2 }, { ...body, color: muted });
  pen.yPt += 24;
}

/** Starts a new page unless `heightPt` still fits on this one; says whether it did. */
function breakPage(pen: Pen, heightPt: number): boolean {
  if (pen.yPt + heightPt <= bottomPt) return false;
  pen.sheet.addPage();
  pen.yPt = marginPt;
  return true;
}

interface Column {
  heading: string;
  key: Exclude<keyof TableRow, 'detail'>;
  xPt: number;
  style: TextStyle;
}

type NumericColumn = keyof typeof numericColumns;
const numericColumns = {
  amount: { heading: 'Amount', widestPt: contentWidthPt },
  unitAmount: { heading: 'Unit price', widestPt: 110 },
  quantity: { heading: 'Quantity', widestPt: 80 },
} as const;

/** Numeric columns are as wide as their widest entry, aligned right; the description takes the rest. */
function layOutColumns({ sheet, text }: Pen, numeric: readonly NumericColumn[]): Column[] {
  let endPt = rightPt;
  const columns: Column[] = numeric.map((key) => {
    const { heading, widestPt } = numericColumns[key];
    const widths = text.rows.map((row) => sheet.measureWidth(row[key], body));
    const widthPt = Math.min(widestPt, Math.max(50, ...widths) + 1);
    const xPt = endPt - widthPt;
    endPt = xPt - 20;
    return { heading, key, xPt, style: { ...body, widthPt, align: 'right' } };
  });
  const widthPt = endPt - marginPt;
  return [
    { heading: 'Description', key: 'description', xPt: marginPt, style: { ...body, widthPt, linesMax: 20 } },
    ...columns.reverse(),
  ];
}

function drawTableHead(pen: Pen, columns: Column[]): void {
  for (const { heading, xPt, style } of columns) {
    pen.sheet.write(heading, { xPt, yPt: pen.yPt }, { ...style, sizePt: small.sizePt, color: small.color });
  }
  pen.yPt += 17;
  pen.sheet.drawRule({ xPt: marginPt, yPt: pen.yPt }, contentWidthPt, ink);
}

function drawTable(pen: Pen, paper: Paper): void {
  const { sheet, text } = pen;
  const columns = layOutColumns(pen, paper.columns);
  const detailStyle: TextStyle = { ...small, widthPt: columns[0]!.style.widthPt };
  const totalsHeightPt = measureTotals(pen);
  breakPage(pen, 60);
  drawTableHead(pen, columns);
  for (const [index, row] of text.rows.entries()) {
    const cellHeights = columns.map(({ key, style }) => sheet.measureHeight(row[key], style));
    const descriptionPt = cellHeights[0]! + sheet.measureHeight(row.detail, detailStyle);
    const rowHeightPt = Math.max(descriptionPt, ...cellHeights) + 13;
    // The last line moves along with the totals, so that they never stand alone on a page.
    const isLast = index === text.rows.length - 1;
    if (breakPage(pen, rowHeightPt + (isLast ? totalsHeightPt : 0))) drawTableHead(pen, columns);

    const yPt = pen.yPt + 7;
    for (const { key, xPt, style } of columns) sheet.write(row[key], { xPt, yPt }, style);
    sheet.write(row.detail, { xPt: marginPt, yPt: yPt + cellHeights[0]! }, detailStyle);
    pen.yPt += rowHeightPt;
    if (!isLast) sheet.drawRule({ xPt: marginPt, yPt: pen.yPt }, contentWidthPt, hairline);
  }
}

const totalRowPt = 21;
const totalsWidthPt = 264;
const totalLabelWidthPt = 172;

const styleOfTotal = ({ strong: isStrong }: InvoiceText['totals'][number]): TextStyle => ({
  ...(isStrong ? strong : body),
  widthPt: totalLabelWidthPt,
  linesMax: 3,
});
const totalHeightPt = ({ sheet }: Pen, total: InvoiceText['totals'][number]): number =>
  Math.max(totalRowPt, sheet.measureHeight(total.label, styleOfTotal(total)) + 8);

const measureTotals = (pen: Pen): number =>
  pen.text.totals.reduce((sum, total) => sum + totalHeightPt(pen, total), 0) + 14;

function drawTotals(pen: Pen): void {
  const { sheet, text } = pen;
  const xPt = rightPt - totalsWidthPt;
  breakPage(pen, measureTotals(pen));
  pen.yPt += 6;
  for (const total of text.totals) {
    sheet.drawRule({ xPt, yPt: pen.yPt }, totalsWidthPt, hairline);
    const style = styleOfTotal(total);
    sheet.write(total.label, { xPt, yPt: pen.yPt + 5 }, style);
    const amountStyle: TextStyle = { ...style, widthPt: totalsWidthPt, linesMax: 1, align: 'right' };
    sheet.write(total.amount, { xPt, yPt: pen.yPt + 5 }, amountStyle);
    pen.yPt += totalHeightPt(pen, total);
  }
  pen.yPt += 8;
}

function drawPayments(pen: Pen, { paymentsHeading }: Paper): void {
  const { sheet, text } = pen;
  if (text.payments.length === 0) return;
  pen.yPt += 16;
  breakPage(pen, 60);
  pen.yPt += sheet.write(paymentsHeading, { xPt: marginPt, yPt: pen.yPt }, { ...strong, sizePt: 10.5 }) + 7;
  for (const { date, description, amount } of text.payments) {
    breakPage(pen, totalRowPt);
    sheet.drawRule({ xPt: marginPt, yPt: pen.yPt }, contentWidthPt, hairline);
    const yPt = pen.yPt + 5;
    sheet.write(date, { xPt: marginPt, yPt }, { ...body, color: muted });
    sheet.write(description, { xPt: marginPt + 96, yPt }, { ...body, widthPt: contentWidthPt - 240, linesMax: 1 });
    sheet.write(amount, { xPt: marginPt, yPt }, { ...body, align: 'right' });
    pen.yPt += totalRowPt;
  }
}

function drawFooters({ sheet, text }: Pen): void {
  sheet.eachPage((page, pageCount) => {
    sheet.drawRule({ xPt: marginPt, yPt: footerYPt - 9 }, contentWidthPt, hairline);
    const summary = [text.title, text.headline].join(' · ');
    sheet.write(summary, { xPt: marginPt, yPt: footerYPt }, { ...small, widthPt: contentWidthPt - 80, linesMax: 1 });
    sheet.write(`Page ${page} of ${pageCount}`, { xPt: marginPt, yPt: footerYPt }, { ...small, align: 'right' });
  });
}

/**
 * The invoice as an A4 PDF of one or more pages, in English, with days in the account's time zone. Equal input gives
 * equal bytes, in every call and process. Text in scripts that the font lacks shows `�`; right-to-left scripts are
 * not reordered.
 */
export const renderInvoicePdf = (document: InvoiceDocument): Promise<Buffer> =>
  renderPaper({
    heading: 'Invoice',
    tone: statusTones[document.status],
    seller: document.seller,
    customer: document.customer,
    customerHeading: 'Bill to',
    text: describeInvoice(document),
    columns: ['amount', 'unitAmount', 'quantity'],
    paymentsHeading: 'Payments',
    createdAt: new Date(document.issuedAt?.getTime() ?? 0),
  });

/** Any of our documents on paper; see `renderInvoicePdf`. */
export async function renderPaper(paper: Paper): Promise<Buffer> {
  const { text, seller, createdAt } = paper;
  const sheet = await openSheet({ title: text.title, author: seller.name, createdAt, mark: text.mark });
  const pen: Pen = { sheet, text, yPt: marginPt };
  drawHead(pen, paper);
  drawParties(pen, paper);
  drawHeadline(pen);
  drawTable(pen, paper);
  drawTotals(pen);
  drawPayments(pen, paper);
  drawFooters(pen);
  return sheet.finish();
}
