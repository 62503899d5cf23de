import fc from 'fast-check';
import { parseExact, rawNumber, stringifyExact } from '../../src/platform/exactJson.js';

test.each([
  '49.00',
  '-0',
  '0.10',
  '9007199254740993',
  '123456789012345678901234567890.123456789',
  '1E400',
  '1e-7',
  '{"amount":49.00,"lines":[{"n":1.250},[9007199254740993,null,true,"1.0",""]],"empty":{}}',
])('%s comes back byte for byte', (text) => {
  expect(stringifyExact(parseExact(text))).toBe(text);
});

test('a plain JSON.parse would not do that', () => {
  expect(JSON.stringify(JSON.parse('[49.00,9007199254740993]'))).not.toBe('[49.00,9007199254740993]');
});

test('every number comes back as it is written', () => {
  const digits = fc.stringMatching(/^-?(0|[1-9]\d{0,30})(\.\d{1,20})?([eE][+-]?\d{1,3})?$/);
  fc.assert(
    fc.property(fc.array(digits), (numbers) => {
      const text = `{"numbers":[${numbers.join(',')}]}`;
      expect(stringifyExact(parseExact(text))).toBe(text);
    }),
  );
});

test('a number can be read as its digits, and other values stay what they are', () => {
  expect(parseExact('{"a":1.50,"b":"1.50","c":[null,false]}')).toEqual({
    a: expect.objectContaining({ rawJSON: '1.50' }),
    b: '1.50',
    c: [null, false],
  });
});

test('money is printed with its decimals', () => {
  expect(stringifyExact({ price: rawNumber('49.00'), currency: 'USD' })).toBe('{"price":49.00,"currency":"USD"}');
});

test.each(['', '{', '[1.]', '01', 'NaN', '{"a":1,}'])('%j is a SyntaxError', (text) => {
  expect(() => parseExact(text)).toThrow(SyntaxError);
});

test.each([
  '',
  'abc',
  '1,2',
  '1}',
  ' 1',
  '49.',
])('rawNumber refuses %j, so that nothing can be smuggled into an answer', (text) => {
  expect(() => rawNumber(text)).toThrow(SyntaxError);
});
