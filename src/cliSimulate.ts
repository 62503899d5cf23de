import type { Command } from 'commander';
import { withCore } from './cliCore.js';
import { columns, excerpt, NotAllGood, print, type Terminal } from './cliTerminal.js';
import type { Moment, Simulation } from './simulate.js';

interface SimulateOptions {
  json?: boolean;
  keep?: boolean;
}

export function addSimulateCommand(program: Command, terminal: Terminal): void {
  program
    .command('simulate')
    .description(
      "run a scenario on an account with a test clock, and hold what happens against the file's expectations",
    )
    .argument('<file>', 'a YAML file; see: README, Test clock and scenarios')
    .option('--keep', 'leave the account in the database, to look around in')
    .option('--json', 'one JSON document')
    .action((file: string, options: SimulateOptions) => runScenario(terminal, file, options));
}

async function runScenario(terminal: Terminal, file: string, { json, keep = false }: SimulateOptions): Promise<void> {
  const [{ readFile }, { parseScenario }] = await Promise.all([
    import('node:fs/promises'),
    import('./simulateScenario.js'),
  ]);
  const scenario = parseScenario(await readFile(file, 'utf8'));
  const failure = await withCore(async (core) => {
    const [{ simulate }, { checkForgettable }] = await Promise.all([
      import('./simulate.js'),
      import('./simulateForget.js'),
    ]);
    if (!keep) await checkForgettable(core);
    const done = await simulate(core, scenario);
    try {
      const timeline = done.timeline.map((moment) => ({ at: moment.at.toISOString(), ...tell(done, moment) }));
      const invoices = await invoicesOf(done);
      const document = {
        name: scenario.name,
        passed: done.failure === undefined,
        failure: done.failure ?? null,
        account: keep ? done.account : null,
        timeline,
        invoices,
      };
      const text = [
        scenario.name,
        columns([['TIME', 'WHAT', 'DETAILS'], ...timeline.map(({ at, what, details }) => [at, what, details])]),
        invoiceTable(invoices),
        ...(keep ? [`Kept as ${done.account}.`] : []),
        ...(done.failure === undefined ? ['All as expected.'] : []),
      ].join('\n\n');
      print(terminal, { json, document, text });
    } finally {
      if (!keep) await done.forget();
    }
    return done.failure;
  });
  if (failure === undefined) return;
  terminal.stderr.write(`${file}: ${failure}\n`);
  throw new NotAllGood();
}

/** A moment in words: `> change_plan` is a step of the file, the others are events. */
function tell({ run }: Simulation, moment: Moment): { what: string; details: string } {
  if (moment.kind === 'step') {
    const { step, error } = moment;
    const args = step.args instanceof Date ? step.args.toISOString() : run.name(excerpt(step.args, 60));
    return { what: `> ${step.name}`, details: `${args === '{}' ? '' : args}${error ? `  ${error.code}` : ''}`.trim() };
  }
  const { type, data } = moment.event;
  const plain: Record<string, unknown> = JSON.parse(JSON.stringify(data));
  const number = typeof plain.number === 'string' ? plain.number.split('-').at(-1) : undefined;
  const told = [
    number,
    plain.status,
    plain.plan_id,
    plain.total,
    plain.balance,
    plain.metric,
    plain.threshold_percent,
    plain.brand,
    plain.last4,
    plain.decline_code,
  ];
  return { what: type, details: run.name(told.filter((part) => part != null).join('  ')) };
}

/** Amounts in major units; an invoice's number without its account's prefix. */
async function invoicesOf({ run }: Simulation) {
  const [{ invoicesInOrder, linesInOrder }, { majorUnits }, { Decimal }] = await Promise.all([
    import('./simulateExpect.js'),
    import('./domain/money.js'),
    import('./domain/decimal.js'),
  ]);
  const em = run.deps.db.orm.em.fork();
  const invoices = [];
  for (const invoice of await invoicesInOrder(em, run.accountId)) {
    const amount = (minorUnits: bigint): string => majorUnits({ minorUnits, currency: invoice.currency });
    const lines = (await linesInOrder(em, invoice)).map((line) => ({
      description: run.name(line.description),
      quantity: new Decimal(line.quantity).toFixed(),
      amount: amount(line.amountMinor),
    }));
    invoices.push({
      number: invoice.number?.split('-').at(-1) ?? null,
      status: invoice.status,
      issuedAt: invoice.issuedAt?.toISOString() ?? null,
      subtotal: amount(invoice.subtotalMinor),
      discount: amount(invoice.discountMinor),
      tax: amount(invoice.taxMinor),
      total: amount(invoice.totalMinor),
      credit: amount(invoice.creditAppliedMinor),
      wallet: amount(invoice.walletAppliedMinor),
      paid: amount(invoice.amountPaidMinor),
      due: amount(invoice.amountDueMinor),
      lines,
    });
  }
  return invoices;
}

function invoiceTable(invoices: Awaited<ReturnType<typeof invoicesOf>>): string {
  if (invoices.length === 0) return 'No invoices.';
  const heads = [
    'INVOICE',
    'STATUS',
    'ISSUED',
    'SUBTOTAL',
    'DISCOUNT',
    'TAX',
    'TOTAL',
    'CREDIT',
    'WALLET',
    'PAID',
    'DUE',
  ];
  const rows = columns([
    heads,
    ...invoices.map(({ number, status, issuedAt, subtotal, discount, tax, total, credit, wallet, paid, due }) => [
      ...[number ?? '-', status, issuedAt ?? '-', subtotal, discount, tax, total, credit, wallet, paid, due],
    ]),
  ]).split('\n');
  return rows
    .flatMap((row, i) => {
      const lines = invoices[i - 1]?.lines ?? [];
      if (lines.length === 0) return [row];
      const table = columns(lines.map(({ description, quantity, amount }) => [description, quantity, amount]));
      return [row, ...table.split('\n').map((line) => `         ${line}`)];
    })
    .join('\n');
}
