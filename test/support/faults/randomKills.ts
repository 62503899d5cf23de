import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../random.js';
import { accountViolations, settledAfterMs } from './books.js';
import type { FaultAccount, FaultWorld } from './faultWorld.js';
import type { Run } from './killPoints.js';
import { type Operation, operations, topUpWith, untilTold } from './operations.js';

/** Callers that never stop asking, two to an account, and what they were told. */
export interface Crowd {
  /** Ends after what each is at, and answers what is broken. */
  disperse(): Promise<string[]>;
  readonly accountIds: readonly string[];
  /** Answers so far. */
  answers(): number;
}

/**
 * Each caller tops its account up again and again, each time under a new key that it repeats until it has an answer; now and then it makes
 * a new account (past the server, on the database itself) and subscribes, changes the plan or pays an invoice there.
 */
export async function startCrowd(
  world: FaultWorld,
  { clients = 20, random, newAccounts = 0.15 }: { clients?: number; random: Random; newAccounts?: number },
): Promise<Crowd> {
  const shared = await Promise.all(Array.from({ length: Math.ceil(clients / 2) }, () => world.account()));
  const paid = new Map<string, number>(shared.map(({ id }) => [id, 0]));
  let isOver = false;
  let answers = 0;
  const told = async (operation: Operation): Promise<void> => {
    if ((await untilTold(world.url, operation, 300_000)).paid)
      paid.set(operation.account.id, (paid.get(operation.account.id) ?? 0) + 1);
    answers++;
  };
  const caller = async (account: FaultAccount, i: number): Promise<void> => {
    for (let n = 0; !isOver; n++) {
      if (!random.chance(newAccounts)) await told(topUpWith(account, `${i}-${n}`, random.pick(['GraphQL', 'REST'])));
      else {
        const operation = await operations[random.pick(Object.keys(operations))]!(world);
        paid.set(operation.account.id, world.standin.books.ledger(operation.account.id).charges);
        await told(operation);
      }
    }
  };
  const failures: string[] = [];
  const callers = Array.from({ length: clients }, (_, i) =>
    caller(shared[i >> 1]!, i).catch((error: Error) => failures.push(`caller ${i}: ${error.message}`)),
  );
  return {
    get accountIds() {
      return [...paid.keys()];
    },
    answers: () => answers,
    disperse: async () => {
      isOver = true;
      await Promise.all(callers);
      await settledAfterMs(world, [...paid.keys()]);
      const violations = [...failures];
      for (const [accountId, times] of paid) {
        const { charges } = world.standin.books.ledger(accountId);
        if (charges !== times)
          violations.push(
            `account ${accountId}: told ${times} times that it has paid, the provider has made ${charges} charges`,
          );
        violations.push(...(await accountViolations(world, accountId)));
      }
      return violations;
    },
  };
}

/** SIGKILL at random times under callers that repeat with keys. The time is that of the last start until all is settled. */
export async function killAtRandom(
  world: FaultWorld,
  {
    kills,
    clients,
    random,
    killed,
  }: { kills: number; clients: number; random: Random; killed?: (() => void) | undefined },
): Promise<Run> {
  world.standin.hooks.set({ duplicates: 1, shuffle: true, delayMs: 200, dropped: 0.2 });
  const crowd = await startCrowd(world, { clients, random });
  for (let i = 0; i < kills; i++) {
    await sleep(random.int(50, 2_000));
    await world.kill();
    await world.start();
    killed?.();
  }
  const listeningAt = performance.now();
  const violations = await crowd.disperse();
  return { worstMs: performance.now() - listeningAt, violations };
}
