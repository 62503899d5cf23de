import { parseCatalog } from '../../src/catalog/catalogFile.js';
import { couponByCode } from '../../src/catalog/coupons.js';
import { demoCatalogYaml } from '../../src/catalog/demoCatalog.js';
import { planHash } from '../../src/catalog/differences.js';
import { chargesCatalogYaml, exampleCatalogYaml } from '../../src/catalog/exampleCatalog.js';
import { publishCatalog } from '../../src/catalog/publishCatalog.js';
import { allAtOnce, publish } from '../support/billing.js';
import { type Loose, startWorld, type World } from '../support/world.js';

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
      'a plan defined twice',
      `${plan()}  - { code: solo, name: Again, price: 1, currency: USD, interval: month }`,
      /line 10: plans\.0\.code|line \d+: plans\.1\.code: 'solo' is defined twice/,
    ],
    ['no plans', 'plans: []', /line 1: plans/],
    ['an unknown anchor', plan('    anchor: birthday'), /line 10: plans\.0\.anchor/],
    ['a minimum spend below a cent', plan('    minimum_spend: 0.001'), /line 10: plans\.0\.minimum_spend/],
    ['UNIQUE of nothing', plan().replace('sum', 'unique'), /line 2: metrics\.0\.property: .*user_id/],
    ['a property of no use', plan().replace('sum', 'sum, property: user_id'), /line 2: metrics\.0\.property: .*unique/],
    ['broken YAML', 'plans:\n  - code: [', /line \d/],
    ['an empty file', '', /./],
  ])('%s is refused, with its place', (_, yaml, message) => {
    expect(() => parseCatalog(yaml)).toThrow(
      expect.objectContaining({ code: 'INVALID', message: expect.stringMatching(message) }),
    );
  });

  const charge = (text: string, more = '') => plan('', `{ calls: { ${more}charge: ${text} } }`);
  const tiers = (text: string) => charge(`{ model: graduated, tiers: [${text}] }`);
  test.each([
    ['an unknown model', charge('{ model: magic }'), /charge\.model: "magic" found; expected model: unit, flat, grad/],
    ['no model', charge('{ unit_price: 1 }'), /charge\.model: no model found/],
    ['a field of another model', charge('{ model: flat, amount: 1, size: 2 }'), /charge: .*size/],
    ['no price', charge('{ model: unit }'), /charge\.unit_price: expected a plain decimal/],
    ['a price below zero', charge('{ model: unit, unit_price: -1 }'), /charge\.unit_price: expected zero or more/],
    ['no tiers', tiers(''), /charge\.tiers: expected at least one/],
    ['tiers that end', tiers('{ up_to: 5, unit_price: 1 }'), /charge\.tiers\.0\.up_to: 5 leaves/],
    ['an open tier in between', tiers('{ unit_price: 1 }, { unit_price: 1 }'), /tiers\.0\.up_to: only the last/],
    [
      'a tier of zero units',
      tiers('{ up_to: 0, unit_price: 1 }, { unit_price: 1 }'),
      /tiers\.0\.up_to: .*more than zero/,
    ],
    [
      'tiers that do not ascend',
      tiers('{ up_to: 5, unit_price: 1 }, { up_to: 5.0, unit_price: 1 }, { unit_price: 1 }'),
      /tiers\.1\.up_to: 5 is not more than 5/,
    ],
    ['packages of nothing', charge('{ model: package, size: 0, price: 1 }'), /charge\.size: expected more than zero/],
    ['half a free event', charge('{ model: percentage, percent: 1, free_events: 0.5 }'), /charge\.free_events/],
    ['a charge that blocks', charge('{ model: flat, amount: 1 }', 'overage: block, '), /charge: charge needs overage/],
    ['two prices', charge('{ model: flat, amount: 1 }', 'unit_price: 1, overage: charge, '), /charge: .*not both/],
    ['a unit price of no overage', plan('', '{ calls: { unit_price: 1 } }'), /unit_price: unit_price needs/],
    [
      'a charge for what nobody measures',
      `features: [{ code: support, name: Support }]\n${plan('', '{ support: { charge: { model: flat, amount: 1 } } }')}`,
      /line 10: plans\.0\.features\.support: has no metric/,
    ],
  ])('%s is refused, with its place', (_, yaml, message) => {
    expect(() => parseCatalog(yaml)).toThrow(
      expect.objectContaining({ code: 'INVALID', message: expect.stringMatching(message) }),
    );
    expect(() => parseCatalog(yaml)).toThrow(/^line (9|10): plans\.0\.features\.(calls|support)/);
  });

  const coupon = (more: string) => `coupons:\n  - { code: OFF, name: Off, ${more} }\n`;
  test.each([
    ['neither amount nor percent', coupon('duration: once'), /coupons\.0\.amount_off: expected either/],
    ['both', coupon('percent_off: 5, amount_off: 1, currency: USD'), /coupons\.0\.amount_off: expected either/],
    ['an amount of no currency', coupon('amount_off: 1'), /coupons\.0\.currency: amount_off needs/],
    ['a percent of a currency', coupon('percent_off: 5, currency: USD'), /coupons\.0\.currency: currency needs/],
    ['an amount finer than the currency', coupon('amount_off: 1.001, currency: USD'), /coupons\.0\.amount_off: /],
    ['nothing off', coupon('amount_off: 0.00, currency: USD'), /coupons\.0\.amount_off: expected more than zero/],
    ['0 percent', coupon('percent_off: 0'), /coupons\.0\.percent_off: expected more than zero/],
    ['over 100 percent', coupon('percent_off: 100.01'), /coupons\.0\.percent_off: expected at most 100/],
    ['repeating without an end', coupon('percent_off: 5, duration: repeating'), /coupons\.0\.periods: /],
    ['periods of once', coupon('percent_off: 5, periods: 3'), /coupons\.0\.periods: periods needs/],
    ['a day that is none', coupon('percent_off: 5, redeem_by: 2027-02-29'), /coupons\.0\.redeem_by: expected a date/],
    ['a moment that is none', coupon('percent_off: 5, redeem_by: 2027-02-30T10:00:00Z'), /coupons\.0\.redeem_by/],
    ['a moment of no zone', coupon('percent_off: 5, redeem_by: 2027-02-28T10:00:00'), /coupons\.0\.redeem_by/],
    ['perhaps archived', coupon('percent_off: 5, archived: perhaps'), /coupons\.0\.archived: expected true or false/],
    ['twice', `${coupon('percent_off: 5')}  - { code: OFF, name: Off, percent_off: 5 }`, /coupons\.1\.code: .*twice/],
  ])('a coupon: %s is refused, with its place', (_, yaml, message) => {
    expect(() => parseCatalog(yaml)).toThrow(
      expect.objectContaining({ code: 'INVALID', message: expect.stringMatching(message) }),
    );
    expect(() => parseCatalog(yaml)).toThrow(/^line [23]: /);
  });

  test('the example of everything is a catalog, and printed as comments below the one of the demo', () => {
    const { plans, coupons } = parseCatalog(chargesCatalogYaml);
    const models = plans[0]!.features.map(({ charge: of, overage }) => [of?.model, overage]);
    expect(models.map(([model]) => model)).toEqual(['unit', 'graduated', 'volume', 'package', 'percentage', 'flat']);
    expect(new Set(models.map(([, overage]) => overage))).toEqual(new Set(['CHARGE']));
    expect(plans[0]).toMatchObject({ anchor: 'CALENDAR', minimumSpendMinor: 2000n });
    expect(coupons[0]).toEqual({
      code: 'WELCOME25',
      name: 'A quarter off for three periods',
      amountMinor: null,
      currency: null,
      percent: '25',
      duration: 'REPEATING',
      durationPeriods: 3,
      planCodes: ['pay_as_you_go'],
      metricCodes: [],
      redeemBy: new Date('2027-01-01T23:59:59.999Z'),
      archived: false,
    });
    expect(coupons[1]).toMatchObject({ amountMinor: 1000n, currency: 'USD', percent: null, redeemBy: null });
    expect(parseCatalog(exampleCatalogYaml)).toEqual(parseCatalog(demoCatalogYaml));
    const [, comments] = exampleCatalogYaml.split('are a file of their own.\n#\n');
    expect(parseCatalog(comments!.replace(/^# ?/gm, ''))).toEqual(parseCatalog(chargesCatalogYaml));
  });

  test('unit_price is short for a charge by unit', () => {
    const short = plan('', '{ calls: { limit: 5, overage: charge, unit_price: 0.030 } }');
    const long = plan('', '{ calls: { limit: 5.0, charge: { model: unit, unit_price: 0.03, free_units: 0 } } }');
    expect(parseCatalog(short)).toEqual(parseCatalog(long));
    expect(parseCatalog(short).plans[0]!.features[0]!.charge).toEqual({
      model: 'unit',
      unitPrice: '0.03',
      freeUnits: '0',
      minimum: '0',
    });
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
      plan().replace('sum', 'unique, property: user_id'),
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

  test('a new charge, anchor or minimum spend makes a version, and the difference reads as the file does', async () => {
    await publish(world, plan('', '{ calls: { limit: 5, overage: charge, unit_price: 0.03 } }'));
    const [, change] = await publish(
      world,
      plan(
        '    anchor: calendar\n    minimum_spend: 100.00',
        '{ calls: { charge: { model: graduated, free_units: 2, tiers: [{ up_to: 5, unit_price: 10, flat_fee: 1.50 }, { unit_price: 5 }] } } }',
      ),
    );
    expect(change!.differences).toEqual([
      'anchor: anniversary → calendar',
      'minimum_spend: none → 10000',
      'features.calls: 5 charge at 0.03 → unlimited charge: graduated up to 5 at 10 + 1.5, beyond at 5, 2 free',
    ]);
  });

  test('what was published before there were charge models, anchors and minimum spends is still the same content', () => {
    const [starter] = parseCatalog(demoCatalogYaml).plans;
    expect(planHash(starter!)).toBe('bfc00f6ff6fb68be4f82d29d21e405a2c6f0aee69d7de2890197a4ed4820729d');
  });

  test('the API shows each charge as what it is', async () => {
    // `calls` is counted otherwise here.
    await publish(world, chargesCatalogYaml.replaceAll('calls', 'hits'));
    const { token } = await world.account();
    const { data, errors } = await world.gql(
      token,
      `{ plans(first: 50) { nodes { code anchor minimumSpend { amount } features { code limit metric { code property } charge {
        model unitPrice amount tiers { upTo unitPrice flatFee } packageSize packagePrice percent fixedFee freeEvents freeUnits minimum
      } } } } }`,
    );
    expect(errors).toBeUndefined();
    const nodes = new Map<string, Loose>(data.plans.nodes.map((node: Loose) => [node.code, node]));
    const { features, ...terms } = nodes.get('pay_as_you_go');
    expect(terms).toEqual({ code: 'pay_as_you_go', anchor: 'CALENDAR', minimumSpend: { amount: '20.00' } });
    const said = Object.fromEntries(
      features.map(({ code, charge: of }: Loose) => [
        code,
        Object.fromEntries(Object.entries(of).filter(([, value]) => value !== null)),
      ]),
    );
    const none = { freeUnits: '0', minimum: '0' };
    expect(said).toEqual({
      hits: { model: 'UNIT', unitPrice: '0.002', freeUnits: '100', minimum: '0' },
      messages: {
        model: 'GRADUATED',
        tiers: [
          { upTo: '5', unitPrice: '10', flatFee: '100' },
          { upTo: null, unitPrice: '5', flatFee: '50' },
        ],
        ...none,
      },
      servers_hours: {
        model: 'VOLUME',
        tiers: [
          { upTo: '10', unitPrice: '5', flatFee: '100' },
          { upTo: null, unitPrice: '2', flatFee: '50' },
        ],
        ...none,
      },
      transfer_gb: { model: 'PACKAGE', packageSize: '10', packagePrice: '100', freeUnits: '5', minimum: '0' },
      payouts: { model: 'PERCENTAGE', percent: '2.9', fixedFee: '0.3', freeEvents: 5, freeUnits: '0', minimum: '10' },
      active_users: { model: 'FLAT', amount: '10', ...none },
    });
    const metrics = features.map(({ metric }: Loose) => metric);
    expect(metrics).toContainEqual({ code: 'active_users', property: 'user_id' });
    expect(metrics).toContainEqual({ code: 'hits', property: null });
    expect(nodes.get('plan_starter')).toMatchObject({ anchor: 'ANNIVERSARY', minimumSpend: null });
    expect(nodes.get('plan_starter').features[0].charge).toBeNull();
  });
});

describe('coupons', () => {
  const coupons = (text: string) => `coupons:\n  - { code: SPRING, name: Spring, ${text} }\n`;
  const changeOf = async (text: string) => (await publish(world, coupons(text)))[0]!;

  test('a coupon is published once and never changes, but for being archived for good', async () => {
    const terms = 'percent_off: 25, plans: [plan_starter], metrics: [voice_minutes]';
    expect(await changeOf(terms)).toEqual({ kind: 'coupon', code: 'SPRING', action: 'created', differences: [] });
    expect((await changeOf(terms.replace('25', '25.0'))).action).toBe('unchanged');
    for (const other of [terms.replace('25', '30'), `${terms}, redeem_by: 2030-01-01`, 'amount_off: 5, currency: USD'])
      await expect(changeOf(other)).rejects.toMatchObject({
        code: 'CONFLICT',
        message: expect.stringMatching(/'SPRING' .*another code/),
      });

    const em = world.deps.db.orm.em.fork();
    const spring = await couponByCode(em, 'SPRING');
    expect(spring).toMatchObject({ planCodes: ['plan_starter'], metricCodes: ['voice_minutes'], archivedAt: null });
    await expect(couponByCode(em, 'AUTUMN', 'code')).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: "No coupon with code 'AUTUMN'",
    });

    expect((await changeOf(`${terms}, archived: true`)).action).toBe('archived');
    expect((await changeOf(`${terms}, archived: true`)).action).toBe('unchanged');
    expect((await changeOf(terms)).action).toBe('unchanged');
    expect((await couponByCode(world.deps.db.orm.em.fork(), 'SPRING')).archivedAt).not.toBeNull();
  });

  test('a coupon for what nobody published is refused, and nothing of its file is published', async () => {
    const yaml = `${plan().replaceAll('solo', 'fresh')}coupons: [{ code: LOST, name: Lost, percent_off: 5, plans: [fresh, nowhere], metrics: [nothing] }]`;
    await expect(publish(world, yaml)).rejects.toMatchObject({
      code: 'INVALID',
      message: expect.stringContaining("plan 'nowhere', metric 'nothing'"),
    });
    expect((await plansOnOffer()).map(({ code }) => code)).not.toContain('fresh');
    expect((await publish(world, yaml.replace(', nowhere', '').replace('nothing', 'calls'))).at(-1)).toMatchObject({
      kind: 'coupon',
      action: 'created',
    });
  });
});
