import { Account } from '../account/account.entity.js';
import { decideCorrection } from '../domain/correction.js';
import { BillingError, invalid } from '../domain/errors.js';
import { refuseCorrected } from '../domain/usage.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { TransactionRace, type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey, storedAnswer } from '../platform/idempotency.js';
import { newId } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import {
  type DecidedCorrection,
  eventsToCorrect,
  type PlacedEvent,
  windowsOfEvents,
  writeCorrections,
} from './corrections.js';
import { redraftWindows } from './draftLines.js';
import type { LockedWindow } from './lockedWindows.js';
import { type CorrectionInput, type ParsedCorrection, parseCorrection } from './parseCorrection.js';
import { billedWindows, proposalsFor, type UsageProposal } from './proposals.js';
import { announceRecounted, lockWithLater, type Recounted, recountWindows, writeRecounted } from './recountWindows.js';
import { presentCorrected } from './usage.present.js';
import { propertyText } from './usageEvent.js';

export interface CorrectUsageInput {
  idempotencyKey?: string | undefined;
  corrections: readonly CorrectionInput[];
}

export interface CorrectUsageAnswer {
  /** In the order of the input. */
  correctionIds: string[];
  /** Of periods that are invoiced for good; nothing is booked by itself. */
  proposals: UsageProposal[];
  replayed: boolean;
}

const maxCorrections = 100;

/**
 * Takes usage events back (VOID) or changes what they say (REPLACE), all of them or none. The windows they count in are
 * counted anew; current ones fire and clear their thresholds, a draft gets its lines anew, and for what is invoiced for
 * good the difference is proposed. What was recorded is kept for audit, and its transactionId stays taken.
 */
export async function correctUsage(
  deps: Pick<Deps, 'db' | 'clock'>,
  actor: Actor,
  { idempotencyKey: key, corrections: inputs }: CorrectUsageInput,
): Promise<CorrectUsageAnswer> {
  requireScope(actor, 'usage:correct');
  const corrections = parseAll(inputs);
  const ids = corrections.map(({ transactionId }) => transactionId);
  const claim = { operation: 'correctUsage', key, input: { corrections } };

  return transact(deps, actor.accountId, async (tx) => {
    // The windows' locks come first: a repeat of a request that is under way waits here for its answer.
    const windows = await lockWithLater(tx, await windowsOfEvents(tx, ids));
    const stored = await storedAnswer<Omit<CorrectUsageAnswer, 'replayed'>>(tx.em, { ...tx, ...claim });
    if (stored) return { ...stored, replayed: true };
    const events = await eventsToCorrect(tx, ids);

    const decided = corrections.map((correction, index) => decide(tx, { correction, index, events, windows }));

    await writeCorrections(tx, decided);
    const changed = new Set(decided.map(({ event }) => event.windowId));
    const recounted = await recountWindows(tx, { windows, changed });
    checkBounds(decided, recounted);
    const windowIds = recounted.map(({ after }) => after.id);
    const before = await billedWindows(tx, windowIds);
    await writeRecounted(tx, recounted);
    const proposals = await proposalsFor(tx, { before, after: await billedWindows(tx, windowIds) });

    await tell(tx, { decided, recounted });
    const answer = { correctionIds: decided.map(({ id }) => id), proposals };
    const claimed = await claimKey(tx, { ...claim, answer });
    if (claimed.replayed) throw new TransactionRace();
    return { ...answer, replayed: false };
  });
}

function parseAll(inputs: readonly CorrectionInput[]): ParsedCorrection[] {
  if (inputs.length === 0 || inputs.length > maxCorrections) {
    throw invalid(`corrections has ${inputs.length} entries, expected 1 to ${maxCorrections}`, 'corrections');
  }
  const named = new Set<string>();
  return inputs.map((input, index) => {
    if (named.has(input.transactionId)) {
      const message = `'${input.transactionId.slice(0, 80)}' is corrected twice: expected each event once`;
      throw invalid(message, 'corrections', index, 'transactionId');
    }
    named.add(input.transactionId);
    return parseCorrection(input, index);
  });
}

function decide(
  { now }: Tx,
  {
    correction,
    index,
    events,
    windows,
  }: {
    correction: ParsedCorrection;
    index: number;
    events: ReadonlyMap<string, PlacedEvent>;
    windows: readonly LockedWindow[];
  },
): DecidedCorrection {
  const { transactionId } = correction;
  const event = events.get(transactionId);
  if (!event) {
    const message = `No usage event with transactionId '${transactionId.slice(0, 80)}'`;
    throw new BillingError('NOT_FOUND', message, { field: ['corrections', index, 'transactionId'] });
  }
  const window = windows.find(({ id }) => id === event.windowId)!;
  const { property } = window;
  const uniqueValue = property === null ? null : propertyText(correction.properties ?? null, property);
  const decision = decideCorrection({ event, correction: { ...correction, uniqueValue }, window, now });
  if (decision.status === 'REJECTED') throw refused(decision, index);
  return { id: newId(), correction, event, after: decision.after };
}

const refused = (
  { code, message, field }: { code: BillingError['code']; message: string; field: string },
  index: number,
): BillingError => new BillingError(code, message, { field: ['corrections', index, field] });

/** Holds each window's new use against its bounds; the first correction of a window that breaks one is named. */
function checkBounds(decided: readonly DecidedCorrection[], recounted: readonly Recounted[]): void {
  for (const { before, after } of recounted) {
    const index = decided.findIndex(({ event }) => event.windowId === before.id);
    if (index < 0) continue; // only the level it began with has changed
    const replaced = decided.some(({ event, after: content }) => event.windowId === before.id && content !== null);
    const refusal = refuseCorrected(before, { used: after.used, replaced });
    if (refusal) throw refused(refusal, index);
  }
}

/** The events, the live summaries, and the drafts that bill what has changed. */
async function tell(
  tx: Tx,
  { decided, recounted }: { decided: readonly DecidedCorrection[]; recounted: readonly Recounted[] },
): Promise<void> {
  const { timeZone } = await tx.em.findOneOrFail(Account, { id: tx.accountId });
  for (const { correction, event, after } of decided) {
    const { after: window } = recounted.find((one) => one.after.id === event.windowId)!;
    tx.emit({ type: 'usage.corrected', data: presentCorrected({ correction, event, after, window, timeZone }) });
  }
  await announceRecounted(tx, recounted);
  await rowsOf(
    tx.em,
    sql`insert into usage_cursor (account_id, id, watermark) values (${tx.accountId}, ${tx.accountId}, 1)
        on conflict (account_id, id) do update set watermark = usage_cursor.watermark + 1`,
  );
  await redraftWindows(
    tx,
    recounted.map(({ after: window }) => window),
  );
}
