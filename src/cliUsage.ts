import type { Command } from 'commander';
import { accountOf, withCore } from './cliCore.js';
import { NotAllGood, print, type Terminal, wholeNumber } from './cliTerminal.js';
import type { ImportProblem, ImportProgress, ImportSummary } from './usage/importUsage.js';

interface ImportOptions {
  account?: string;
  batch: number;
  json?: boolean;
}

/** Problems said one by one; of the others only their number. */
const maxProblems = 20;
const reportEveryMs = 3_000;

export function addUsageCommands(program: Command, terminal: Terminal): void {
  program
    .command('usage')
    .description('metered usage')
    .command('import')
    .description(
      'record the usage events of an NDJSON file; may be interrupted and repeated: each transactionId counts once',
    )
    .argument(
      '<file>',
      '{"transactionId", "metric", "value", "timestamp", "properties", "accountId"} on each line; - for stdin',
    )
    .option('--account <id>', 'the account of lines that name none (acct_…)')
    .option('--batch <count>', 'events a batch', wholeNumber({ min: 1, max: 5_000 }), 1_000)
    .option('--json', 'one JSON document')
    .action((file: string, options: ImportOptions) => runImport(terminal, file, options));
}

async function runImport(terminal: Terminal, file: string, { account, batch, json }: ImportOptions): Promise<void> {
  const { stat } = await import('node:fs/promises');
  const bytes = file === '-' ? 0 : (await stat(file)).size;
  const summary = await withCore(async (core, { signal }) => {
    const [{ importUsage }, { operatorAccountId }, { systemActor }] = await Promise.all([
      import('./usage/importUsage.js'),
      import('./account/apiKeys.js'),
      import('./platform/actor.js'),
    ]);
    const actor = systemActor(account === undefined ? operatorAccountId : await accountOf(core, account));
    const report = await openReport(terminal, bytes);
    try {
      const done = await importUsage(core.deps, actor, {
        lines: file === '-' ? terminal.stdin : file,
        batchSize: batch,
        onProgress: report.progress,
        onProblem: report.problem,
        signal,
      });
      report.close();
      print(terminal, { json, document: presentSummary(done), text: summaryText(done) });
      return done;
    } finally {
      report.close();
    }
  });
  if (summary.rejected + summary.badLines > 0) throw new NotAllGood();
}

interface Report {
  progress(progress: ImportProgress): void;
  problem(problem: ImportProblem): void;
  close(): void;
}

/** On stderr: a bar where that is a terminal, else a line every few seconds. */
async function openReport({ stderr }: Terminal, bytes: number): Promise<Report> {
  const bar = stderr.isTTY && bytes > 0 ? await openBar(bytes) : undefined;
  const say = (line: string): unknown => (bar ? bar.say(line) : stderr.write(`${line}\n`));
  let problems = 0;
  let closed = false;
  let saidAt = performance.now();
  return {
    progress: (progress) => {
      if (bar) return bar.show(progress);
      if (performance.now() - saidAt < reportEveryMs) return;
      saidAt = performance.now();
      const percent = bytes > 0 ? `, ${Math.floor((100 * progress.offset) / bytes)} %` : '';
      say(`${count(progress.line)} lines${percent}: ${countsText(progress)}`);
    },
    problem: ({ line, reason }) => {
      if (++problems <= maxProblems) say(`line ${line}: ${reason}`);
    },
    close: () => {
      if (closed) return;
      closed = true;
      bar?.close();
      if (problems > maxProblems) stderr.write(`… and ${count(problems - maxProblems)} more\n`);
    },
  };
}

async function openBar(bytes: number) {
  const { default: progress } = await import('cli-progress');
  const bars = new progress.MultiBar({
    format: '{bar} {percentage} %  {counts}  {rate}/s  {eta_formatted} left',
    barCompleteChar: '█',
    barIncompleteChar: '░',
    hideCursor: true,
    gracefulExit: false, // signals end the import in order
  });
  const bar = bars.create(bytes, 0, { counts: '', rate: '' });
  let first: { line: number; at: number } | undefined;
  return {
    say: (line: string): void => bars.log(`${line}\n`),
    show: (at: ImportProgress): void => {
      first ??= { line: at.line, at: performance.now() };
      const rate = Math.round((1_000 * (at.line - first.line)) / (performance.now() - first.at)) || 0;
      bar.update(at.offset, { counts: countsText(at), rate: count(rate) });
    },
    close: (): void => bars.stop(),
  };
}

const count = (value: number): string => value.toLocaleString('en-US');

const countsText = ({ accepted, duplicate, rejected, badLines }: ImportProgress): string =>
  [
    `${count(accepted)} accepted`,
    `${count(duplicate)} duplicate`,
    `${count(rejected)} rejected`,
    ...(badLines > 0 ? [`${count(badLines)} bad lines`] : []),
  ].join(', ');

const presentSummary = ({
  accepted,
  duplicate,
  rejected,
  badLines,
  seconds,
  eventsPerSecond,
  resumedAfterLine,
  complete,
}: ImportSummary) => ({
  accepted,
  duplicate,
  rejected,
  badLines,
  seconds: Number(seconds.toFixed(3)),
  eventsPerSecond,
  resumedAfterLine,
  complete,
});

function summaryText(summary: ImportSummary): string {
  const { seconds, eventsPerSecond, resumedAfterLine, complete, line } = summary;
  return [
    `${countsText(summary)} in ${seconds.toFixed(1)} s (${count(eventsPerSecond)} events/s)`,
    ...(resumedAfterLine > 0
      ? [`Went on behind line ${count(resumedAfterLine)}, where an earlier run was interrupted.`]
      : []),
    ...(complete ? [] : [`Interrupted behind line ${count(line)}. The same command goes on there.`]),
  ].join('\n');
}
