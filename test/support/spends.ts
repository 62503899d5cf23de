import { setTimeout as sleep } from 'node:timers/promises';
import { billingErrorOf } from '../../src/api/errors.js';
import { createInvoice } from '../../src/invoice/createInvoice.js';
import { publicId } from '../../src/platform/ids.js';
import { sql } from '../../src/platform/sql.js';
import { unsoundOf } from '../../src/verify.js';
import { captureHold } from '../../src/wallet/captureHold.js';
import { createHold } from '../../src/wallet/createHold.js';
import { releaseHold } from '../../src/wallet/releaseHold.js';
import { dayMs, freshKey } from './billing.js';
import { type Random, randomFrom } from './random.js';
import { give } from './wallet.js';
import type { TestAccount, World } from './world.js';

/** How many spend at once. */
const atOnce = 100;

/**
 * Rounds of a hundred spends of one balance at the same time, some by invoice, some by a hold that is then captured in part,
 * captured, or released; more than the balance can pay. After each round the wallet was never below zero, and what was there is what
 * was spent and what is left, to the minor unit. Returns what is broken, one text each.
 */
export async function proveSpends(
  world: World,
  { rounds, seed }: { rounds: number; seed: number },
): Promise<{ broken: string[]; spends: number; refused: number; spentMinor: bigint }> {
  const random = randomFrom(seed);
  const account = await world.account();
  const broken: string[] = [];
  let [spends, refused, spentMinor] = [0, 0, 0n];
  for (let round = 1; round <= rounds; round++) {
    await fund(world, account, random);
    const before = await worth(world, account);
    const wishes = Array.from({ length: atOnce }, () => ({ minor: BigInt(random.int(1, 120)), how: random.int(0, 9) }));
    const spent = await Promise.all(wishes.map((wish) => spend(world, account, wish)));
    const after = await worth(world, account);
    const total = spent.reduce<bigint>((sum, one) => sum + (one ?? 0n), 0n);
    spends += spent.length;
    refused += spent.filter((one) => one === undefined).length;
    spentMinor += total;
    if (before - total !== after) broken.push(`round ${round}: ${before} there, ${total} spent, ${after} left`);
    broken.push(...(await unsoundOf(world.deps.db.orm.em.fork(), account.id)).map((one) => `round ${round}: ${one}`));
  }
  if (spentMinor === 0n || refused === 0)
    broken.push(`${spentMinor} was spent, ${refused} spends were refused: too few`);
  return { broken, spends, refused, spentMinor };
}

/** A few grants of every order, about half of what will be asked for. */
async function fund(world: World, account: TestAccount, random: Random): Promise<void> {
  for (let grants = random.int(2, 5); grants > 0; grants--) {
    await give(world, account, (random.int(300, 900) / 100).toFixed(2), {
      priority: random.pick([undefined, 10, 50, 90]),
      expiresAt: random.chance(0.5) ? new Date(world.clock.now().getTime() + random.int(1, 300) * dayMs) : undefined,
    });
  }
}

async function worth(world: World, { id }: TestAccount): Promise<bigint> {
  const [row] = await world.rows(
    sql<{
      minor: string;
    }>`select balance_minor as minor from ledger_account where account_id = ${id} and kind = 'wallet'`,
  );
  return BigInt(row?.minor ?? 0);
}

/** What it took of the wallet; undefined: refused, as nothing was there. */
async function spend(
  world: World,
  account: TestAccount,
  { minor, how }: { minor: bigint; how: number },
): Promise<bigint | undefined> {
  const { deps } = world;
  const amount = { minorUnits: minor, currency: 'USD' };
  const [first, second] = [{ idempotencyKey: freshKey() }, { idempotencyKey: freshKey() }];
  if (how === 0) {
    const items = [{ description: 'Work', amount }];
    const { invoiceId } = await insist(() => createInvoice(deps, account.actor, { ...first, items }));
    const [invoice] = await insist(() =>
      world.rows(
        sql<{
          applied: string;
        }>`select wallet_applied_minor as applied from invoice where account_id = ${account.id} and id = ${invoiceId}`,
      ),
    );
    return BigInt(invoice!.applied);
  }
  try {
    const { holdId } = await insist(() => createHold(deps, account.actor, { ...first, amount, description: 'A job' }));
    const ending = { ...second, holdId: publicId('hold', holdId) };
    if (how === 1) {
      await insist(() => releaseHold(deps, account.actor, ending));
      return 0n;
    }
    const part = how < 5 ? (minor + 1n) / 2n : minor;
    await insist(() => captureHold(deps, account.actor, { ...ending, amount: { ...amount, minorUnits: part } }));
    return part;
  } catch (error) {
    if (billingErrorOf(error, '').code === 'INSUFFICIENT_BALANCE') return undefined;
    throw error;
  }
}

/** As a client does that finds the server busy: the same again, with the same key. */
async function insist<Result>(work: () => Promise<Result>): Promise<Result> {
  for (const until = Date.now() + 60_000; ; ) {
    try {
      return await work();
    } catch (error) {
      if (billingErrorOf(error, '').code !== 'UNAVAILABLE' || Date.now() > until) throw error;
      await sleep(20);
    }
  }
}
