import { Command } from 'commander';
import { addAccountCommands, addKeyCommands } from './cliAccounts.js';
import { accountOf, withCore, withDatabase } from './cliCore.js';
import { addLedgerCommands } from './cliLedger.js';
import { addMigrateCommand } from './cliMigrate.js';
import { addPlanCommands } from './cliPlans.js';
import { addRenewCommand } from './cliRenew.js';
import { addSimulateCommand } from './cliSimulate.js';
import { columns, excerpt, print, reportFailure, type Terminal, wholeNumber } from './cliTerminal.js';
import { addUsageCommands } from './cliUsage.js';
import { addWebhookCommands } from './cliWebhooks.js';

/** Runs one command line and returns its exit code: 0, 1, or 130 when a signal ended it. */
export async function runCli(args: readonly string[], terminal: Terminal): Promise<number> {
  try {
    await createProgram(terminal).parseAsync(args, { from: 'user' });
    return 0;
  } catch (error) {
    return reportFailure(terminal, error);
  }
}

function createProgram(terminal: Terminal): Command {
  const program = new Command('billing')
    .description('Billing from the command line. Works beside a running server, and without one.')
    .showHelpAfterError('(--help shows what there is)')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.stdout.write(text),
      writeErr: (text) => terminal.stderr.write(text),
    });
  addServerCommands(program, terminal);
  addAccountCommands(program, terminal);
  addKeyCommands(program, terminal);
  addPlanCommands(program, terminal);
  addMigrateCommand(program, terminal);
  addRenewCommand(program, terminal);
  addUsageCommands(program, terminal);
  addEventCommands(program, terminal);
  addWebhookCommands(program, terminal);
  addLedgerCommands(program, terminal);
  addSimulateCommand(program, terminal);
  return program;
}

function addServerCommands(program: Command, terminal: Terminal): void {
  program
    .command('serve')
    .description('start the server')
    .action(async () => (await import('./serve.js')).serve());
  program
    .command('migrate')
    .description('create and upgrade the tables')
    .option('--json', 'one JSON document')
    .action(async ({ json }: { json?: boolean }) => {
      await withDatabase(async () => {}, { migrateAlways: true });
      print(terminal, { json, document: { migrated: true }, text: 'The tables are up to date.' });
    });
  program
    .command('demo')
    .description('make the demo accounts unless they are there, and say their tokens')
    .option('--json', 'one JSON document')
    .action(async ({ json }: { json?: boolean }) => {
      await withCore(async ({ deps }) => {
        const { prepareDemo } = await import('./demo.js');
        const accounts = await prepareDemo(deps);
        const text = accounts.map(({ id, name, token }) => `${name}  ${id}\n  token ${token}`).join('\n');
        print(terminal, { json, document: { accounts }, text });
      });
    });
  program
    .command('schema')
    .description('the GraphQL schema')
    .command('print')
    .description('print it as SDL')
    .action(async () => {
      const { printedSchema } = await import('./api/schema.js');
      terminal.stdout.write(printedSchema());
    });
  program
    .command('openapi')
    .description('the REST API and the webhooks as an OpenAPI 3.1 document')
    .action(async () => {
      const { printedOpenapi } = await import('./api/openapi.js');
      terminal.stdout.write(printedOpenapi());
    });
}

interface EventOptions {
  account: string;
  after: number;
  limit: number;
  json?: boolean;
}

function addEventCommands(program: Command, terminal: Terminal): void {
  const event = program.command('event').description('the event log');
  event
    .command('types')
    .description('every type of event and when it happens, as a table in Markdown')
    .action(async () => {
      const { eventTable } = await import('./domain/eventCatalogue.js');
      terminal.stdout.write(`${eventTable()}\n`);
    });
  event
    .command('list')
    .description("an account's events, oldest first")
    .requiredOption('--account <id>', 'acct_…')
    .option(
      '--after <sequence>',
      'only events behind this one',
      wholeNumber({ min: 0, max: Number.MAX_SAFE_INTEGER }),
      0,
    )
    .option('--limit <count>', 'at most so many', wholeNumber({ min: 1, max: 1_000 }), 50)
    .option('--json', 'one JSON document')
    .action((options: EventOptions) => listEvents(terminal, options));
}

async function listEvents(terminal: Terminal, { account, after, limit, json }: EventOptions): Promise<void> {
  await withCore(async (core) => {
    const [{ readEvents }, { presentEvent }] = await Promise.all([
      import('./platform/eventLog.js'),
      import('./api/presentRest.js'),
    ]);
    const accountId = await accountOf(core.deps.db, account);
    const found = await readEvents(core.deps.db.orm.em.fork(), { accountId, after: BigInt(after), limit });
    const events = found.map(presentEvent);
    const rows = events.map(({ sequence, timestamp, type, data }) => [
      String(sequence),
      timestamp,
      type,
      excerpt(data),
    ]);
    const text =
      rows.length === 0 ? `No events after ${after}.` : columns([['SEQUENCE', 'TIME', 'TYPE', 'DATA'], ...rows]);
    print(terminal, { json, document: { events }, text });
  });
}
