import fc from 'fast-check';
import {
  GraphQLError,
  GraphQLNonNull,
  GraphQLObjectType,
  type GraphQLScalarType,
  GraphQLSchema,
  graphqlSync,
  parseValue,
  printSchema,
  validateSchema,
} from 'graphql';
import { Decimal } from '../../src/domain/decimal.js';
import {
  BigIntScalar,
  CalendarDate,
  CurrencyScalar,
  DateTime,
  DecimalScalar,
  JSONScalar,
} from '../../src/platform/scalars.js';

const scalars = {
  DateTime,
  Date: CalendarDate,
  Decimal: DecimalScalar,
  BigInt: BigIntScalar,
  Currency: CurrencyScalar,
  JSON: JSONScalar,
};
const at = (text: string): Date => new Date(text);

/** Reads a value by both ways in: as a variable and as a literal in the document. */
function readBoth(scalar: GraphQLScalarType, value: unknown): unknown[] {
  return [scalar.parseValue(value), scalar.parseLiteral(parseValue(JSON.stringify(value)))];
}

function refusal(run: () => unknown): GraphQLError {
  try {
    run();
  } catch (error) {
    if (error instanceof GraphQLError) return error;
    throw error;
  }
  throw new Error('Nothing was refused');
}

describe('input', () => {
  test.each<[name: keyof typeof scalars, value: unknown, expected: unknown]>([
    ['DateTime', '2026-11-22T21:45:00Z', at('2026-11-22T21:45:00.000Z')],
    ['DateTime', '2026-11-22t21:45:00.5z', at('2026-11-22T21:45:00.500Z')],
    ['DateTime', '2026-11-22T23:45:00.123456789+02:00', at('2026-11-22T21:45:00.123Z')],
    ['DateTime', '1969-12-31T23:59:59.9999Z', at('1969-12-31T23:59:59.999Z')],
    ['DateTime', '2026-01-01T00:00:00-00:00', at('2026-01-01T00:00:00.000Z')],
    ['DateTime', '2016-12-31T23:59:60Z', at('2016-12-31T23:59:59.000Z')],
    ['Date', '2028-02-29', '2028-02-29'],
    ['Decimal', '45.7', new Decimal('45.7')],
    ['Decimal', '-0.000000000001', new Decimal('-0.000000000001')],
    ['Decimal', '12345678901234567890.123456789012', new Decimal('12345678901234567890.123456789012')],
    ['Decimal', 45, new Decimal(45)],
    ['Decimal', -3, new Decimal(-3)],
    ['BigInt', '9223372036854775807', 2n ** 63n - 1n],
    ['BigInt', '-9223372036854775808', -(2n ** 63n)],
    ['BigInt', 4900, 4900n],
    ['Currency', 'JPY', 'JPY'],
    ['JSON', [1, 'a', null, true, [2.5]], [1, 'a', null, true, [2.5]]],
    ['JSON', 'text', 'text'],
  ])('%s reads %j', (name, value, expected) => {
    for (const read of readBoth(scalars[name], value)) expect(read).toEqual(expected);
  });

  test('a Decimal literal keeps digits that a JSON number would lose', () => {
    expect(String(DecimalScalar.parseLiteral(parseValue('9007199254740993')))).toBe('9007199254740993');
    expect(BigIntScalar.parseLiteral(parseValue('9007199254740993'))).toBe(9007199254740993n);
  });

  test.each<[name: keyof typeof scalars, value: unknown]>([
    ['DateTime', '2026-11-22'],
    ['DateTime', '2026-11-22T21:45:00'],
    ['DateTime', '2026-11-22T21:45Z'],
    ['DateTime', '2026-11-22 21:45:00Z'],
    ['DateTime', '2026-02-29T00:00:00Z'],
    ['DateTime', '2026-11-22T25:00:00Z'],
    ['DateTime', '2026-11-22T21:45:00+25:00'],
    ['DateTime', '2026-11-22T21:45:00Z[Europe/Berlin]'],
    ['DateTime', '20261122T214500Z'],
    ['DateTime', '+012026-11-22T21:45:00Z'],
    ['DateTime', 1795383900000],
    ['Date', '2026-02-29'],
    ['Date', '2026-13-01'],
    ['Date', '20260101'],
    ['Date', '2026-01-01T00:00:00Z'],
    ['Date', '2026-01-01[u-ca=hebrew]'],
    ['Date', 20260101],
    ['Decimal', ''],
    ['Decimal', '1e3'],
    ['Decimal', ' 1'],
    ['Decimal', '1,5'],
    ['Decimal', '.5'],
    ['Decimal', 'NaN'],
    ['Decimal', '0.0000000000001'],
    ['Decimal', '123456789012345678901'],
    ['Decimal', true],
    ['Decimal', ['1']],
    ['BigInt', '9223372036854775808'],
    ['BigInt', '-9223372036854775809'],
    ['BigInt', '1.0'],
    ['BigInt', '0x10'],
    ['BigInt', ''],
    ['BigInt', '1'.repeat(1000)],
    ['Currency', 'usd'],
    ['Currency', 'ABC'],
    ['Currency', 840],
  ])('%s refuses %j as INVALID and says what it expected', (name, value) => {
    const literal = parseValue(JSON.stringify(value));
    for (const error of [
      refusal(() => scalars[name].parseValue(value)),
      refusal(() => scalars[name].parseLiteral(literal)),
    ]) {
      expect(error.extensions).toEqual({ code: 'INVALID' });
      expect(error.message).toMatch(new RegExp(`^${name} is .*, expected (a|an) .+such as "`));
      expect(error.message.length).toBeLessThan(200);
    }
    expect(refusal(() => scalars[name].parseLiteral(literal)).nodes).toEqual([literal]);
  });

  test.each<[name: 'Decimal' | 'BigInt', value: number, literal: string]>([
    ['Decimal', 45.7, '45.7'],
    ['Decimal', 1e300, '1e+300'],
    ['Decimal', 9007199254740992, '9007199254740992'],
    ['BigInt', 0.5, '0.5'],
    ['BigInt', 9007199254740992, '9007199254740992'],
  ])('%s asks to quote the number %d', (name, value, text) => {
    const { message } = refusal(() => scalars[name].parseValue(value));
    expect(message).toContain(`; quote it ("${text}"): a JSON number is not exact`);
  });

  test('a decimal literal with a point asks for quotes too, and a quoted one that is wrong does not', () => {
    expect(refusal(() => DecimalScalar.parseLiteral(parseValue('45.7'))).message).toContain('quote it ("45.7")');
    expect(refusal(() => DecimalScalar.parseValue('4 5')).message).not.toContain('quote it');
  });
});

describe('output', () => {
  test.each<[name: keyof typeof scalars, value: unknown, expected: unknown]>([
    ['DateTime', at('2026-11-22T21:45:00Z'), '2026-11-22T21:45:00.000Z'],
    ['DateTime', at('0099-01-01T00:00:00Z'), '0099-01-01T00:00:00.000Z'],
    ['Date', '2026-11-22', '2026-11-22'],
    ['Decimal', new Decimal('45.70'), '45.7'],
    ['Decimal', new Decimal('1e-12'), '0.000000000001'],
    ['Decimal', new Decimal('1e25'), '10000000000000000000000000'],
    ['Decimal', new Decimal('-0'), '0'],
    ['Decimal', '49.00', '49.00'],
    ['BigInt', -4900n, '-4900'],
    ['BigInt', '4900', '4900'],
    ['Currency', 'KWD', 'KWD'],
    ['JSON', { a: [1, null] }, { a: [1, null] }],
  ])('%s prints %p as %j', (name, value, expected) => {
    expect(scalars[name].serialize(value)).toEqual(expected);
  });

  test.each<[name: keyof typeof scalars, value: unknown]>([
    ['DateTime', at('nonsense')],
    ['DateTime', '2026-11-22T21:45:00Z'],
    ['DateTime', new Date(8.64e15)],
    ['Date', new Date(0)],
    ['Date', '2026-02-30'],
    ['Decimal', 45.7],
    ['Decimal', new Decimal(Number.NaN)],
    ['Decimal', '1e3'],
    ['BigInt', 2n ** 63n],
    ['BigInt', 4900],
    ['Currency', 'usd'],
  ])('%s that is asked to print %p fails as our own fault, without a code for the caller', (name, value) => {
    expect(() => scalars[name].serialize(value)).toThrow(TypeError);
    expect(() => scalars[name].serialize(value)).not.toThrow(GraphQLError);
  });

  test('what is printed reads back as the same value', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
        fc.date({ min: at('0001-01-01T00:00:00Z'), max: at('9999-12-31T23:59:59.999Z'), noInvalidDate: true }),
        fc.bigInt({ min: -(10n ** 31n), max: 10n ** 31n }),
        (integer, date, digits) => {
          const decimal = new Decimal(digits.toString()).div('1e12');
          expect(BigIntScalar.parseValue(BigIntScalar.serialize(integer))).toBe(integer);
          expect(DateTime.parseValue(DateTime.serialize(date))).toEqual(date);
          expect(decimal.equals(DecimalScalar.parseValue(DecimalScalar.serialize(decimal)))).toBe(true);
        },
      ),
    );
  });
});

describe('in a schema', () => {
  const echo = (scalar: GraphQLScalarType) => ({
    type: scalar,
    args: { value: { type: new GraphQLNonNull(scalar) } },
    resolve: (_root: unknown, { value }: { value: unknown }) => value,
  });
  const schema = new GraphQLSchema({
    query: new GraphQLObjectType({
      name: 'Query',
      fields: {
        ...Object.fromEntries(Object.entries(scalars).map(([name, scalar]) => [name.toLowerCase(), echo(scalar)])),
        quantity: { type: DecimalScalar, args: { value: { type: DecimalScalar, defaultValue: new Decimal(1) } } },
      },
    }),
  });

  test('they are declared as the contract has them', () => {
    expect(validateSchema(schema)).toEqual([]);
    expect(Object.values(scalars).map(({ name, description }) => [name, description])).toEqual([
      ['DateTime', 'RFC 3339 instant, UTC'],
      ['Date', "Calendar date in the account's time zone"],
      ['Decimal', 'Exact decimal in a JSON string, e.g. "45.7"'],
      ['BigInt', 'Signed 64-bit integer in a JSON string'],
      ['Currency', 'ISO 4217 code'],
      ['JSON', undefined],
    ]);
    expect(printSchema(schema)).toContain('quantity(value: Decimal = "1"): Decimal');
  });

  test('values go in by literal and by variable and come out the same', () => {
    const source =
      'query($d: Decimal!, $t: DateTime!) { decimal(value: $d) datetime(value: $t) bigint(value: "-1") date(value: "2026-01-31") currency(value: "EUR") }';
    const { data, errors } = graphqlSync({
      schema,
      source,
      variableValues: { d: '45.70', t: '2026-01-01T01:00:00+01:00' },
    });
    expect(errors).toBeUndefined();
    expect({ ...data }).toEqual({
      decimal: '45.7',
      datetime: '2026-01-01T00:00:00.000Z',
      bigint: '-1',
      date: '2026-01-31',
      currency: 'EUR',
    });
  });

  test('a JSON literal holds variables; one that is not given is left out', () => {
    const source =
      'query($a: Currency, $b: Currency) { json(value: {a: $a, b: $b, list: [1, $a, {c: "x"}], e: ENUM, f: 1.5}) }';
    const { data, errors } = graphqlSync({ schema, source, variableValues: { a: 'EUR' } });
    expect(errors).toBeUndefined();
    expect(JSON.stringify(data)).toBe('{"json":{"a":"EUR","list":[1,"EUR",{"c":"x"}],"e":"ENUM","f":1.5}}');
  });

  test('a JSON literal cannot touch a prototype', () => {
    const { data } = graphqlSync({ schema, source: '{ json(value: {__proto__: {polluted: true}}) }' });
    expect(JSON.stringify(data)).toBe('{"json":{"__proto__":{"polluted":true}}}');
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  test.each<[what: string, source: string, variables: Record<string, unknown>]>([
    ['a literal', '{ decimal(value: 45.7) }', {}],
    ['a variable', 'query($v: Decimal!) { decimal(value: $v) }', { v: 45.7 }],
  ])('%s that does not fit is one INVALID error with its place', (_what, source, variableValues) => {
    const { errors } = graphqlSync({ schema, source, variableValues });
    expect(errors).toHaveLength(1);
    expect(errors?.[0]?.extensions).toEqual({ code: 'INVALID' });
    expect(errors?.[0]?.message).toContain('quote it ("45.7")');
    expect(errors?.[0]?.locations).toHaveLength(1);
  });
});
