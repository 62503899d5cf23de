import type { Command } from 'commander';
import { accountOf, withCore } from './cliCore.js';
import { grouped, openProgress } from './cliProgress.js';
import { NotAllGood, print, type Terminal, wholeNumber } from './cliTerminal.js';
import type { ImportProblem, ImportProgress, ImportSummary } from './usage/importUsage.js';

interface ImportOptions {
  account?: string;
  batch: number;
  json?: boolean;
}

/** Problems said one by one; of the others only their number. */
const maxProblems = 20;

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
    const actor = systemActor(account === undefined ? operatorAccountId : await accountOf(core.deps.db, account));
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

async function openReport(terminal: Terminal, bytes: number): Promise<Report> {
  const shown = await openProgress(terminal, bytes);
  let problems = 0;
  let closed = false;
  return {
    progress: (progress) => {
      const { offset, line } = progress;
      const percent = bytes > 0 ? `, ${Math.floor((100 * offset) / bytes)} %` : '';
      const text = countsText(progress);
      shown.show({ done: offset, counted: line, text, line: `${grouped(line)} lines${percent}: ${text}` });
    },
    problem: ({ line, reason }) => {
      if (++problems <= maxProblems) shown.say(`line ${line}: ${reason}`);
    },
    close: () => {
      if (closed) return;
      closed = true;
      shown.close();
      if (problems > maxProblems) terminal.stderr.write(`… and ${grouped(problems - maxProblems)} more\n`);
    },
  };
}

const countsText = ({ accepted, duplicate, rejected, badLines }: ImportProgress): string =>
  [
    `${grouped(accepted)} accepted`,
    `${grouped(duplicate)} duplicate`,
    `${grouped(rejected)} rejected`,
    ...(badLines > 0 ? [`${grouped(badLines)} bad lines`] : []),
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
    `${countsText(summary)} in ${seconds.toFixed(1)} s (${grouped(eventsPerSecond)} events/s)`,
    ...(resumedAfterLine > 0
      ? [`Went on behind line ${grouped(resumedAfterLine)}, where an earlier run was interrupted.`]
      : []),
    ...(complete ? [] : [`Interrupted behind line ${grouped(line)}. The same command goes on there.`]),
  ].join('\n');
}
