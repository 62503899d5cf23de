import { parseCatalog } from '../../src/catalog/catalogFile.js';
import { demoCatalogYaml } from '../../src/catalog/demoCatalog.js';
import { publishCatalog } from '../../src/catalog/publishCatalog.js';
import { allAtOnce, publish } from '../support/billing.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ worker: false });
});
afterAll(() => world.stop());

const plansOnOffer = async () => {
  const { token } = await world.account();
  const { data } = await world.gql(token, '{ plans(first: 50) { nodes { code version price { amount } } } }');
  return data.plans.nodes as { code: string; version: number; price: { amount: string } }[];
};
const plan = (more = '', features = '{ calls: 5 }') => `metrics:
  - { code: calls, name: Calls, aggregation: sum }
plans:
  - code: solo
    name: Solo
    price: 10.00
    currency: USD
    interval: month
    features: ${features}
${more}`;

describe('parseCatalog', () => {
  test.each([
    ['an unknown key', plan('    colour: red'), /line \d+: plans\.0.*colour/],
    ['a price that is no decimal', plan().replace('10.00', 'ten'), /line 6: plans\.0\.price/],
    ['a price below zero', plan().replace('10.00', '-1.00'), /line 6: plans\.0\.price/],
    ['more digits than the currency has', plan().replace('10.00', '10.001'), /line 6: plans\.0\.price/],
    ['an unknown currency', plan().replace('USD', 'USX'), /line 7: plans\.0\.currency/],
    ['an unknown interval', plan().replace('month', 'fortnight'), /line 8: plans\.0\.interval/],
    [
      'an unknown feature',
      plan('', '{ cals: 5 }'),
      /line 9: plans\.0\.features\.cals: unknown feature; expected one of calls/,
    ],
    ['charge without a price', plan('', '{ calls: { limit: 5, overage: charge } }'), /line 9: .*unit_price/],
    ['a negative limit', plan('', '{ calls: { limit: -5 } }'), /line 9: /],
    [
      'an aggregation not supported yet',
      plan().replace('sum', 'unique'),
      /line 2: metrics\.0\.aggregation: .*not supported/,
    ],
    [
      'a plan defined twice',
      `${plan()}  - { code: solo, name: Again, price: 1, currency: USD, interval: month }`,
      /line 10: plans\.0\.code|line \d+: plans\.1\.code: 'solo' is defined twice/,
    ],
    ['no plans', 'plans: []', /line 1: plans/],
    ['broken YAML', 'plans:\n  - code: [', /line \d/],
    ['an empty file', '', /./],
  ])('%s is refused, with its place', (_, yaml, message) => {
    expect(() => parseCatalog(yaml)).toThrow(
      expect.objectContaining({ code: 'INVALID', message: expect.stringMatching(message) }),
    );
  });

  test('reports every mistake at once', () => {
    const yaml = plan().replace('10.00', 'ten').replace('USD', 'USX').replace('month', 'never');
    expect(() => parseCatalog(yaml)).toThrow(
      expect.objectContaining({ message: expect.stringMatching(/line 6.*\n.*line 7.*\n.*line 8/) }),
    );
  });

  test('amounts are never floats: 0.1 + 0.2 stays 0.3, and yen have no cents', () => {
    expect(parseCatalog(plan().replace('10.00', '70368744177.29')).plans[0]!.priceMinor).toBe(7036874417729n);
    expect(parseCatalog(plan().replace('10.00', '1500').replace('USD', 'JPY')).plans[0]!.priceMinor).toBe(1500n);
  });
});

describe('publishCatalog', () => {
  test('publishing the same again changes nothing', async () => {
    const before = await plansOnOffer();
    const changes = await publish(world, demoCatalogYaml);
    expect(new Set(changes.map((c) => c.action))).toEqual(new Set(['unchanged']));
    expect(await plansOnOffer()).toEqual(before);
  });

  test('a difference makes a new version of that plan only, and says what differs', async () => {
    await publish(world, plan());
    const [, change] = await publish(world, plan().replace('10.00', '12.00').replace('calls: 5', 'calls: 6'));
    expect(change).toEqual({
      kind: 'plan',
      code: 'solo',
      action: 'new version',
      version: 2,
      differences: ['price: 1000 → 1200', 'features.calls: 5 block → 6 block'],
    });
    const offered = await plansOnOffer();
    expect(offered.filter((p) => p.code === 'solo')).toEqual([
      { code: 'solo', version: 2, price: { amount: '12.00' } },
    ]);
    expect(offered.filter((p) => p.code.startsWith('plan_')).map((p) => p.version)).toEqual([1, 1, 1]);
  });

  test('a dry run says the same and changes nothing', async () => {
    const before = await plansOnOffer();
    const next = parseCatalog(plan().replace('Solo', 'Solo Plus').replaceAll('calls', 'rings'));
    const dry = await publishCatalog(world.deps, next, { dryRun: true });
    expect(dry.map((c) => c.action)).toEqual(['created', 'new version']);
    expect(await plansOnOffer()).toEqual(before);
    expect(await publishCatalog(world.deps, next, { dryRun: true })).toEqual(dry);
  });

  test('a metric keeps its aggregation and unit: CONFLICT, and nothing of the file is published', async () => {
    const before = await plansOnOffer();
    for (const other of [
      plan().replace('sum', 'max'),
      plan().replace('name: Calls', 'name: Calls, unit: k').replace('{ calls: 5 }', '{ calls_k: 5 }'),
    ]) {
      await expect(publish(world, other.replace('10.00', '99.00'))).rejects.toMatchObject({
        code: 'CONFLICT',
        message: expect.stringContaining("'calls'"),
      });
    }
    expect(await plansOnOffer()).toEqual(before);
  });

  test('ten publications of one new version at once make one', async () => {
    const yaml = plan().replace('10.00', '15.00');
    const { done, codes } = await allAtOnce(10, () => publish(world, yaml));
    expect(codes).toEqual([]);
    expect(done.flat().filter((c) => c.kind === 'plan' && c.action === 'new version')).toHaveLength(1);
    expect((await plansOnOffer()).filter((p) => p.code === 'solo')).toHaveLength(1);
  });
});
