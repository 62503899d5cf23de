import { createRequire } from 'node:module';
import { buffer } from 'node:stream/consumers';

/** How a piece of text is set. Longer text wraps at `widthPt`; what exceeds `linesMax` lines ends in an ellipsis. */
export interface TextStyle {
  face: 'regular' | 'bold';
  sizePt: number;
  color: string;
  widthPt: number;
  linesMax: number;
  align?: 'left' | 'right';
}

/** A4 paper under construction. Places are points from the top left corner. */
export interface Sheet {
  /** Writes and returns the height it took, in points. */
  write(text: string, at: { xPt: number; yPt: number }, style: TextStyle): number;
  /** The height that `write` would take, in points. */
  measureHeight(text: string, style: TextStyle): number;
  /** The width of the text on one line, in points. */
  measureWidth(text: string, style: TextStyle): number;
  drawRule(from: { xPt: number; yPt: number }, widthPt: number, color: string): void;
  drawPill(at: { xPt: number; yPt: number }, size: { widthPt: number; heightPt: number }, color: string): void;
  addPage(): void;
  /** Calls `draw` for every page so far, in order, with that page as the one drawn on. */
  eachPage(draw: (page: number, pageCount: number) => void): void;
  /** Ends the document. The sheet can't be drawn on afterwards. */
  finish(): Promise<Buffer>;
}

export const pageWidthPt = 595.28;
export const pageHeightPt = 841.89;

const { resolve } = createRequire(import.meta.url);
const fontPaths = {
  regular: resolve('dejavu-fonts-ttf/ttf/DejaVuSansCondensed.ttf'),
  bold: resolve('dejavu-fonts-ttf/ttf/DejaVuSansCondensed-Bold.ttf'),
};

/** pdfkit's field for the font in use. Its types leave it out, and nothing else tells what a font can show. */
interface CurrentFont {
  _font: { font: { hasGlyphForCodePoint(codePoint: number): boolean } };
}

const lineGapPt = 2;
const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });

/**
 * Text that a font can show: line breaks and other control characters become spaces, and each character (as people
 * count them: a family emoji is one) that the font lacks becomes one `�`.
 */
export function makePrintable(text: string, hasGlyph: (codePoint: number) => boolean): string {
  const plain = text
    .toWellFormed()
    .normalize('NFC')
    .replaceAll(/\p{Cc}+/gu, ' ')
    .trim();
  const shows = (part: string): boolean => Array.from(part).every((character) => hasGlyph(character.codePointAt(0)!));
  if (shows(plain)) return plain;
  return Array.from(graphemes.segment(plain), ({ segment }) => (shows(segment) ? segment : '\uFFFD')).join('');
}

/**
 * An empty A4 document in DejaVu Sans Condensed, which holds the Latin, Greek and Cyrillic letters and is embedded as
 * a subset. The bytes depend on what is drawn and on `info` alone: pdfkit derives the file's /ID from the info
 * dictionary and names font subsets by their order, and the dates are given instead of read from the clock.
 */
export async function openSheet(info: {
  title: string;
  author: string;
  createdAt: Date;
  /** A word in large pale letters, slanted across every page, beneath all else; empty for none. */
  mark: string;
}): Promise<Sheet> {
  // Loaded on first use: pdfkit and its font engine would double the time the process takes to start.
  const { default: PDFDocument } = await import('pdfkit');
  const pdf = new PDFDocument({
    size: 'A4',
    // Page breaks are ours to decide; with margins pdfkit would add pages by itself.
    margin: 0,
    bufferPages: true,
    // From PDF 1.4 on pdfkit repeats the info as XML, without escaping it: a seller named "A & B" would break it.
    pdfVersion: '1.3',
    lang: 'en',
    displayTitle: true,
    font: fontPaths.regular,
    info: { Title: info.title, Author: info.author, CreationDate: info.createdAt, ModDate: info.createdAt },
  });

  const use = (text: string, style: TextStyle): string => {
    pdf.font(fontPaths[style.face]).fontSize(style.sizePt);
    const { font } = (pdf as unknown as CurrentFont)._font;
    return makePrintable(text, (codePoint) => font.hasGlyphForCodePoint(codePoint));
  };
  const heightOf = (printable: string, style: TextStyle): number => {
    if (printable === '') return 0;
    const lineHeightPt = pdf.currentLineHeight(true) + lineGapPt;
    const wholePt = pdf.heightOfString(printable, { width: style.widthPt, lineGap: lineGapPt });
    return Math.min(wholePt, style.linesMax * lineHeightPt);
  };

  const drawMark = (): void => {
    if (info.mark === '') return;
    const style: TextStyle = { face: 'bold', sizePt: 130, color: '#f3f4f6', widthPt: pageWidthPt, linesMax: 1 };
    const printable = use(info.mark, style);
    const at = { xPt: (pageWidthPt - pdf.widthOfString(printable)) / 2, yPt: (pageHeightPt - style.sizePt) / 2 };
    pdf.save().rotate(-45, { origin: [pageWidthPt / 2, pageHeightPt / 2] });
    pdf.fillColor(style.color).text(printable, at.xPt, at.yPt, { lineBreak: false });
    pdf.restore();
  };
  drawMark();

  return {
    write(text, { xPt, yPt }, style) {
      const printable = use(text, style);
      const heightPt = heightOf(printable, style);
      if (heightPt === 0) return 0;
      pdf.fillColor(style.color).text(printable, xPt, yPt, {
        width: style.widthPt,
        // Half a point keeps rounding from taking the last line away.
        height: heightPt + 0.5,
        lineGap: lineGapPt,
        align: style.align ?? 'left',
        ellipsis: true,
      });
      return heightPt;
    },
    measureHeight: (text, style) => heightOf(use(text, style), style),
    measureWidth: (text, style) => pdf.widthOfString(use(text, style)),
    drawRule({ xPt, yPt }, widthPt, color) {
      pdf
        .moveTo(xPt, yPt)
        .lineTo(xPt + widthPt, yPt)
        .lineWidth(0.75)
        .stroke(color);
    },
    drawPill({ xPt, yPt }, { widthPt, heightPt }, color) {
      pdf.roundedRect(xPt, yPt, widthPt, heightPt, heightPt / 2).fill(color);
    },
    addPage() {
      pdf.addPage();
      drawMark();
    },
    eachPage(draw) {
      const { start, count } = pdf.bufferedPageRange();
      for (let index = 0; index < count; index++) {
        pdf.switchToPage(start + index);
        draw(index + 1, count);
      }
    },
    finish() {
      pdf.end();
      return buffer(pdf);
    },
  };
}
