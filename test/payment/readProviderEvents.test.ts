import { type ProviderEvent, ProviderUnavailable } from '../../src/integrations/payments/provider.js';
import { settlersOf } from '../../src/invoice/settlers.js';
import { readProviderEvents } from '../../src/payment/readProviderEvents.js';
import { createLogger } from '../../src/platform/log.js';
import { sql } from '../../src/platform/sql.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ worker: false });
});
afterAll(() => world.stop());

/** A provider's list of events, newest first in pages of ten, in which nothing is about billing. What was read is noted. */
class EventList {
  readonly events: ProviderEvent[] = [];
  readonly read: string[] = [];
  pages = 0;
  refuse: (ref: string) => Error | undefined = () => undefined;

  constructor(readonly name: string) {}

  happen(count: number): void {
    const second = Math.floor(world.clock.now().getTime() / 1000);
    for (let i = 0; i < count; i++)
      this.events.push({ ref: `evt_${this.events.length}`, second, type: 'x', objectRef: 'x' });
  }

  get refs(): string[] {
    return this.events.map(({ ref }) => ref);
  }

  /** One round of the sweep, of at most two pages. */
  round(): Promise<number> {
    const events = {
      list: async ({ second, after }: { second: number; after: string | undefined }) => {
        this.pages++;
        const since = this.events.filter((event) => event.second >= second).reverse();
        const from = after === undefined ? 0 : since.findIndex(({ ref }) => ref === after) + 1;
        if (after !== undefined && from === 0) throw new Error(`no such event: ${after}`);
        return { events: since.slice(from, from + 10), hasMore: from + 10 < since.length };
      },
      read: async ({ ref }: ProviderEvent) => {
        const refused = this.refuse(ref);
        if (refused) throw refused;
        this.read.push(ref);
        return undefined;
      },
    };
    const payments = { ...world.deps.payments, name: this.name, events };
    return readProviderEvents({ ...world.deps, payments, log: createLogger('silent') }, settlersOf, { mostPages: 2 });
  }

  /** Rounds until one finds nothing more; how many that took. */
  async pass(): Promise<number> {
    world.clock.advanceMs(61_000);
    for (let rounds = 1; ; rounds++) if ((await this.round()) === 0 || rounds > 50) return rounds;
  }

  cursor = async () =>
    (
      await world.rows(
        sql<{
          second: number;
          pass: object | null;
        }>`select second, pass from provider_cursor where provider = ${this.name}`,
      )
    )[0]!;
}

/** A list that is read from now on. */
async function listOf(name: string): Promise<EventList> {
  const list = new EventList(name);
  await list.round();
  world.clock.advanceMs(1_000);
  return list;
}

test('a round reads no more than its pages, the next ones go on, and nothing is missed', async () => {
  const list = await listOf('long');
  const { second } = await list.cursor();
  list.happen(75);
  world.clock.advanceMs(61_000);
  list.pages = 0;
  expect(await list.round()).toBe(21); // and there is more
  expect([list.pages, list.read]).toEqual([2, list.refs.slice(55)]);
  expect((await list.cursor()).second).toBe(second); // nothing counts as read before the end is reached

  world.clock.advanceMs(1_000);
  list.happen(5); // meanwhile: the next pass has them
  await list.round();
  expect(list.read.slice(20)).toEqual(list.refs.slice(35, 55));
  await list.round();
  await list.round();
  expect(new Set(list.read)).toEqual(new Set(list.refs.slice(0, 75)));
  expect(await list.cursor()).toEqual({ second: list.events[74]!.second, pass: null });
  expect(await list.round()).toBe(0); // a minute has to pass
  await list.pass();
  expect(new Set(list.read)).toEqual(new Set(list.refs));
});

test('an event that fails in the middle of a long list is read again by the next pass', async () => {
  const list = await listOf('failing');
  list.happen(30);
  world.clock.advanceMs(400_000); // more than the overlap
  list.happen(40);
  list.refuse = (ref) => (ref === 'evt_35' ? new Error('broken') : undefined);
  await list.pass();
  const second = list.events[35]!.second;
  expect(await list.cursor()).toEqual({ second, pass: null });
  expect(list.read).not.toContain('evt_35');
  list.refuse = () => undefined;
  await list.pass();
  expect(list.read).toContain('evt_35');
});

test('one event that never gets an answer keeps no other from being read', async () => {
  const list = await listOf('silent');
  list.happen(45);
  list.refuse = (ref) => (ref === 'evt_30' ? new ProviderUnavailable('no answer') : undefined);
  for (let minutes = 0; minutes < 6; minutes++) {
    world.clock.advanceMs(61_000);
    await list.round();
    await list.round();
  }
  expect(new Set(list.read)).toEqual(new Set(list.refs.filter((ref) => ref !== 'evt_30')));
  expect((await list.cursor()).second).toBeLessThanOrEqual(list.events[30]!.second);
});

test('when the event at which it stood is no longer listed, the list is read from its newest again', async () => {
  const list = await listOf('short_memory');
  list.happen(50);
  world.clock.advanceMs(61_000);
  await list.round();
  const [gone] = list.events.splice(30, 1);
  expect((await list.cursor()).pass).toMatchObject({ after: gone!.ref });
  await expect(list.round()).rejects.toThrow('no such event');
  await list.pass();
  expect(new Set(list.read)).toEqual(new Set([...list.refs, gone!.ref]));
});
