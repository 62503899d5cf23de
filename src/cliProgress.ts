import type { Terminal } from './cliTerminal.js';

/** How far a long command is. */
export interface Progress {
  /**
   * `done` of the total. `counted` is what the rate is of. Shown with the bar is `text`; where there is no bar, `line` is all
   * there is.
   */
  show(at: { done: number; counted: number; text: string; line: string }): void;
  say(line: string): void;
  close(): void;
}

const reportEveryMs = 3_000;

/** On stderr: a bar where that is a terminal and the total is known, else a line every few seconds. */
export async function openProgress({ stderr }: Terminal, total: number): Promise<Progress> {
  if (stderr.isTTY && total > 0) return openBar(total);
  let saidAt = performance.now();
  return {
    show: ({ line }) => {
      if (performance.now() - saidAt < reportEveryMs) return;
      saidAt = performance.now();
      stderr.write(`${line}\n`);
    },
    say: (line) => {
      stderr.write(`${line}\n`);
    },
    close: () => {},
  };
}

async function openBar(total: number): Promise<Progress> {
  const { default: progress } = await import('cli-progress');
  const bars = new progress.MultiBar({
    format: '{bar} {percentage} %  {text}  {rate}/s  {eta_formatted} left',
    barCompleteChar: '█',
    barIncompleteChar: '░',
    hideCursor: true,
    gracefulExit: false, // signals end the command in order
  });
  const bar = bars.create(total, 0, { text: '', rate: '' });
  let first: { counted: number; at: number } | undefined;
  let closed = false;
  return {
    show: ({ done, counted, text }) => {
      first ??= { counted, at: performance.now() };
      const rate = Math.round((1_000 * (counted - first.counted)) / (performance.now() - first.at)) || 0;
      bar.update(done, { text, rate: grouped(rate) });
    },
    say: (line) => bars.log(`${line}\n`),
    close: () => {
      if (!closed) bars.stop();
      closed = true;
    },
  };
}

/** 1234567 as 1,234,567. */
export const grouped = (value: number): string => value.toLocaleString('en-US');
