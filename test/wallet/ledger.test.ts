import { movements } from '../../src/domain/ledger.js';
import { transact } from '../../src/platform/db.js';
import { newId } from '../../src/platform/ids.js';
import { post } from '../../src/wallet/ledger.js';
import { balanceOf } from '../support/ledger.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ worker: false });
});
afterAll(() => world.stop());

test('movements at once: no balance forgets one', async () => {
  const { id } = await world.account();
  const credit = (): Promise<string> =>
    transact(world.deps, id, (tx) =>
      post(tx, { type: 'credit', currency: 'USD', referenceId: newId(), postings: movements.grantCredit(100n) }),
    );
  await Promise.all(Array.from({ length: 20 }, credit));
  expect(await balanceOf(world, id, 'wallet')).toBe(2_000n);
});
