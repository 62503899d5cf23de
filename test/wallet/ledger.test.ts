import { transact } from '../../src/platform/db.js';
import { newId } from '../../src/platform/ids.js';
import { grantCredit } from '../../src/wallet/drawDown.js';
import { balanceOf } from '../support/ledger.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ worker: false });
});
afterAll(() => world.stop());

test('movements at once: no balance forgets one', async () => {
  const { id } = await world.account();
  const credit = (): Promise<unknown> =>
    transact(world.deps, id, (tx) => grantCredit(tx, { amountMinor: 100n, referenceId: newId() }));
  await Promise.all(Array.from({ length: 20 }, credit));
  expect(await balanceOf(world, id, 'wallet')).toBe(2_000n);
});
