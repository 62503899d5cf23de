import { buildSchema, GraphQLError, getIntrospectionQuery, parse, validate } from 'graphql';
import { documentCost } from '../../src/api/cost.js';
import { checkDocument, documentLimits, measureDocument, parseLimited } from '../../src/api/limits.js';
import { pageSize } from '../../src/platform/connection.js';

const schema = buildSchema(`
  interface Node { id: ID! }
  type Money { amount: String!, currency: String! }
  type PageInfo { hasNextPage: Boolean!, endCursor: String }
  type Line implements Node { id: ID!, amount: Money! }
  type Method implements Node { id: ID! }
  type Payment implements Node { id: ID!, amount: Money!, method: Method }
  type Invoice implements Node { id: ID!, total: Money!, lines: [Line!]!, payments: [Payment!]!, related(first: Int): InvoiceConnection! }
  type InvoiceEdge { cursor: String!, node: Invoice! }
  type InvoiceConnection { edges: [InvoiceEdge!]!, nodes: [Invoice!]!, pageInfo: PageInfo! }
  type Quote { rate(at: String): String }
  type Offer { code: String, quote: Quote, price: Money }
  type Thing { a: Thing, b: Thing, id: ID, offer: Offer }
  type Payload { invoice: Invoice }
  type Query {
    thing: Thing
    node(id: ID!): Node
    invoices(first: Int = 20, after: String): InvoiceConnection!
    history(last: Int = 6): [Invoice!]!
    total: Money
  }
  type Mutation { pay: Payload! }
  type Subscription { thing: Thing }
`);

const times = (n: number, make: (i: number) => string): string =>
  Array.from({ length: n }, (_, i) => make(i)).join(' ');
const nested = (depth: number): string => `${'{a'.repeat(depth - 1)}{id}${'}'.repeat(depth - 1)}`;
const check = (source: string): string[] => checkDocument(schema, parse(source)).map((error) => error.message);
const codeOf = (run: () => unknown): unknown => {
  try {
    run();
  } catch (error) {
    if (error instanceof GraphQLError) return `${error.extensions.code}: ${error.message}`;
  }
  return undefined;
};

/** Fragment n spreads fragment n - 1 twice: 2^n leaves from n definitions, and no alias. */
const bomb = (n: number): string =>
  `{thing{...F${n}}} fragment F0 on Thing{id} ${times(n, (i) => `fragment F${i + 1} on Thing{...F${i} ...F${i}}`)}`;

describe('parseLimited', () => {
  const tokens = (n: number): string => `{${'a '.repeat(n - 2)}}`;

  test('a document with all the tokens allowed is parsed, with locations', () => {
    const document = parseLimited(tokens(documentLimits.maxTokens));
    expect(document.tokenCount).toBe(2000);
    expect(document.loc).toBeDefined();
  });

  test('one token more is INVALID and the message names the limit', () => {
    expect(codeOf(() => parseLimited(tokens(2001)))).toBe(
      'INVALID: The document has more than 2000 tokens, at most 2000 are allowed',
    );
    expect(codeOf(() => parseLimited('{a b}', { ...documentLimits, maxTokens: 3 }))).toMatch(/^INVALID.* 3 tokens/);
  });

  test.each([
    ['an unclosed brace', '{a'],
    ['nothing', ''],
    ['an unclosed string', '{a(b: "'],
    ['an unknown character at the token too many', `{${'a '.repeat(1999)}?`],
    ['an unexpected token that is the last one allowed', `{${'a '.repeat(1998)})`],
  ])('%s is GRAPHQL_PARSE_FAILED', (_what, source) => {
    expect(codeOf(() => parseLimited(source))).toMatch(/^GRAPHQL_PARSE_FAILED: Syntax Error/);
  });

  test.each([
    ['lists', '[', ']'],
    ['objects', '{a:', '}'],
  ])('%s 100 brackets deep are parsed, deeper ones are INVALID, not a stack overflow', (_what, open, close) => {
    const value = (depth: number): string => `{a(b:${open.repeat(depth - 2)}1${close.repeat(depth - 2)})}`;
    expect(parseLimited(value(100)).kind).toBe('Document');
    expect(codeOf(() => parseLimited(value(101)))).toBe('INVALID: The document nests brackets more than 100 deep');
    expect(codeOf(() => parseLimited(open.repeat(90_000)))).toMatch(/^INVALID/);
    expect(codeOf(() => parseLimited(`{${'a(b:[{c:1}]){d} '.repeat(130)}}`))).toBeUndefined();
  });

  test('a syntax error says where it is', () => {
    try {
      parseLimited('{\n  a(]\n}');
    } catch (error) {
      expect(error instanceof GraphQLError && error.locations).toEqual([{ line: 2, column: 5 }]);
    }
    expect.assertions(1);
  });
});

describe('checkDocument', () => {
  const spread = (n: number): string => `{thing{${times(n - 1, () => '...F')}}} fragment F on Thing{id}`;
  test.each<[what: string, at: string, over: string, found: number, words: string]>([
    ['depth', nested(12), nested(13), 13, 'levels of nested fields'],
    [
      'depth through fragments',
      `{thing${'{...F}'}} fragment F on Thing ${nested(11)}`,
      `{thing{... on Thing{...F}}} fragment F on Thing ${nested(12)}`,
      13,
      'levels of nested fields',
    ],
    [
      'depth of an unused fragment',
      `{thing{id}} fragment F on Thing ${nested(12)}`,
      `{thing{id}} fragment F on Thing ${nested(13)}`,
      13,
      'levels of nested fields',
    ],
    ['aliases', `{thing{${times(30, (i) => `x${i}:id`)}}}`, `{thing{${times(31, (i) => `x${i}:id`)}}}`, 31, 'aliases'],
    [
      'aliases by expansion',
      `{thing{${times(10, () => '...F')}}} fragment F on Thing{x:id y:id z:id}`,
      `{thing{${times(11, () => '...F')}}} fragment F on Thing{x:id y:id z:id}`,
      33,
      'aliases',
    ],
    ['root fields', `{${'thing '.repeat(20)}}`, `{${'thing '.repeat(21)}}`, 21, 'root fields'],
    [
      'root fields by expansion',
      `{...F ...F} fragment F on Query{${'thing '.repeat(10)}}`,
      `{...F ...F ... on Query{thing}} fragment F on Query{${'thing '.repeat(10)}}`,
      21,
      'root fields',
    ],
    ['fields', `{thing{${'id '.repeat(299)}}}`, `{thing{${'id '.repeat(300)}}}`, 301, 'fields'],
    ['fields by expansion', spread(300), spread(301), 301, 'fields'],
    ['unknown fields', `{nope{${'no '.repeat(299)}}}`, `{nope{${'no '.repeat(300)}}}`, 301, 'fields'],
    [
      'directives',
      `{thing ${'@skip(if:true)'.repeat(20)}}`,
      `{thing ${'@skip(if:true)'.repeat(21)}}`,
      21,
      'directives',
    ],
    [
      'directives wherever they stand',
      `query($v:Int @d)@d{thing@d{...F@d ...on Thing@d{id}}} fragment F on Thing@d{id ${'@d'.repeat(14)}}`,
      `query($v:Int @d)@d{thing@d{...F@d ...on Thing@d{id}}} fragment F on Thing@d{id ${'@d'.repeat(15)}}`,
      21,
      'directives',
    ],
  ])('%s: the limit itself passes, one more is refused', (_what, at, over, found, words) => {
    expect(check(at)).toEqual([]);
    const allowed = { 'levels of nested fields': 12, aliases: 30, 'root fields': 20, fields: 300, directives: 20 }[
      words
    ];
    expect(check(over)).toEqual([
      `The document has ${found} ${words} with its fragments expanded, at most ${allowed} are allowed`,
    ]);
  });

  test('20 definitions pass, 21 are refused', () => {
    const fragments = (n: number): string => times(n, (i) => `fragment F${i} on Thing{id}`);
    expect(check(`{thing{id}} ${fragments(19)}`)).toEqual([]);
    expect(check(`{thing{id}} ${fragments(20)}`)).toEqual(['The document has 21 definitions, at most 20 are allowed']);
  });

  test('tokens are checked too, for a document that another parser let through', () => {
    const source = `{thing(${'a:1 '.repeat(700)})}`;
    expect(check(source)).toEqual(['The document has 2105 tokens, at most 2000 are allowed']);
  });

  test('errors are INVALID', () => {
    const [error, ...more] = checkDocument(schema, parse(nested(13)));
    expect(error?.extensions).toEqual({ code: 'INVALID' });
    expect(more).toEqual([]);
  });

  test('the operations of one document share fields and aliases, and each has its own root fields', () => {
    const operation = (i: number): string => `query Q${i} {${times(15, () => 'thing')}}`;
    expect(check(times(3, operation))).toEqual([]);
    expect(check(times(21, operation).replaceAll('query', '\nquery'))).toHaveLength(1);
    expect(check(times(2, (i) => `query Q${i} {thing{${'id '.repeat(150)}}}`))).toHaveLength(1);
  });

  test('a fragment that is not used has no root fields', () => {
    expect(check(`{thing{id}} fragment F on Query{${'thing '.repeat(21)}}`)).toEqual([]);
  });

  test('other limits can be given', () => {
    expect(checkDocument(schema, parse(nested(3)), { ...documentLimits, maxDepth: 2 })).toHaveLength(1);
  });
});

describe('hostile documents', () => {
  test('a fragment bomb is measured without expanding it', () => {
    const document = parseLimited(bomb(18));
    expect(measureDocument(schema, document).fields).toBe(2 ** 18 + 1);
    expect(checkDocument(schema, document)).toHaveLength(1);
  });

  test('2^19 fields from 20 definitions are refused by their number', () => {
    const document = parseLimited(bomb(18).replace('{thing{...F18}}', '{thing{...F18 ...F18}}'));
    expect(document.definitions).toHaveLength(20);
    expect(checkDocument(schema, document).map((e) => e.message)).toEqual([
      'The document has 524289 fields with its fragments expanded, at most 300 are allowed',
    ]);
  });

  test('counts saturate instead of overflowing, and cost with them', () => {
    const wide = `{thing{...F18}} fragment F0 on Thing{x:a{id}} ${times(18, (i) => `fragment F${i + 1} on Thing{${`...F${i} `.repeat(30)}}`)}`;
    const measure = measureDocument(schema, parse(wide));
    expect(measure.fields).toBe(Number.MAX_SAFE_INTEGER);
    expect(measure.aliases).toBe(Number.MAX_SAFE_INTEGER);
    expect(measure.depth).toBe(3);
    const page = `{invoices{nodes{...F18}}} fragment F0 on Invoice{lines{id}} ${times(18, (i) => `fragment F${i + 1} on Invoice{related(first:100){nodes{...F${i} ...F${i}}}}`)}`;
    expect(documentCost(schema, parse(page))).toBe(1000 * documentLimits.maxCost);
  });

  test.each([
    ['itself', 'fragment A on Thing{a{...A}}', ['A']],
    ['itself by another', 'fragment A on Thing{...B} fragment B on Thing{...A}', ['A']],
    [
      'each of the others',
      times(10, (i) => `fragment F${i} on Thing{${times(10, (j) => (i === j ? '' : `...F${j}`))}}`),
      times(9, (i) => `F${i}`).split(' '),
    ],
  ])('a fragment that spreads %s is refused, and measuring it ends', (_what, fragments, names) => {
    const messages = (source: string): string[] => check(source).sort();
    const expected = names.map((name) => `Fragment '${name}' spreads itself, directly or not`);
    expect(messages(`{thing{...${names[0]}}} ${fragments}`)).toEqual(expected);
    expect(messages(`{thing{id}} ${fragments}`)).toEqual(expected);
    expect(documentCost(schema, parse(`{thing{...${names[0]}}} ${fragments}`))).toBeGreaterThan(0);
  });

  test('unknown fragments and operations without a root type are left to validate', () => {
    expect(check('{thing{...Nope}}')).toEqual([]);
    expect(check('{...on Nope{id}}')).toEqual([]);
  });

  test('fragments of one name are all counted', () => {
    expect(check(`{thing{...F}} fragment F on Thing{id} fragment F on Thing{${'id '.repeat(300)}}`)).toHaveLength(1);
  });

  test('a long chain of fragments and a wide document end at once', () => {
    const wide = `{thing{${'id '.repeat(33_000)}}}`;
    const chain = `{thing{...F0}} ${times(3000, (i) => `fragment F${i} on Thing{a{...F${i + 1}}}`)}`;
    const start = performance.now();
    expect(check(wide)).toHaveLength(1);
    expect(check(chain)).toHaveLength(2);
    expect(codeOf(() => parseLimited(wide))).toMatch(/^INVALID/);
    expect(check(bomb(18))).toHaveLength(1);
    expect(performance.now() - start).toBeLessThan(5000);
  });
});

describe('introspection', () => {
  const everything = {
    descriptions: true,
    specifiedByUrl: true,
    directiveIsRepeatable: true,
    schemaDescription: true,
    inputValueDeprecation: true,
    oneOf: true,
  };
  test.each([
    ['standard query', getIntrospectionQuery()],
    ['query with everything switched on', getIntrospectionQuery(everything)],
    ['query of GraphiQL', getIntrospectionQuery({ inputValueDeprecation: true, schemaDescription: true })],
  ])('the %s passes, and is deeper than another could be', (_what, source) => {
    const document = parseLimited(source);
    expect(checkDocument(schema, document)).toEqual([]);
    expect(validate(schema, document)).toEqual([]);
    expect(checkDocument(schema, parse(source.replace('__schema', 'thing')))).not.toEqual([]);
    expect(documentCost(schema, document)).toBe(0);
  });

  test('it has a depth and a size of its own, and its aliases and directives count', () => {
    const chain = (depth: number): string =>
      `{__type(name:"A")${'{ofType'.repeat(depth - 2)}{name}${'}'.repeat(depth - 2)}}`;
    expect(check(chain(20))).toEqual([]);
    expect(check(chain(21))).toEqual([
      'The document has 21 levels of nested introspection fields with its fragments expanded, at most 20 are allowed',
    ]);
    expect(check(`{__schema{${'a '.repeat(499)}}}`)).toEqual([]);
    expect(check(`{__schema{${'a '.repeat(500)}}}`)).toHaveLength(1);
    expect(check(`{__schema{${times(31, (i) => `x${i}:description`)}}}`)).toHaveLength(1);
    expect(check(`{__schema ${'@skip(if:true)'.repeat(21)} {description}}`)).toHaveLength(1);
  });

  test('only the root of a query has it: its name elsewhere exempts nothing', () => {
    expect(check(`{...Q} fragment Q on Query{...on Query{__type(name:"A")${nested(14)}}}`)).toEqual([]);
    expect(check(`{thing{__schema${nested(14)}}}`)).toHaveLength(1);
    expect(check(`mutation{__schema${nested(14)}}`)).toHaveLength(1);
    expect(check(`{thing{...T}} fragment T on Thing{__schema${nested(14)}}`)).toHaveLength(1);
  });
});

describe('documentCost', () => {
  const cost = (source: string, variables?: Record<string, unknown>, name?: string): number => {
    const document = parse(source);
    expect(validate(schema, document)).toEqual([]);
    return documentCost(schema, document, name, variables);
  };
  const related = (inside: string): string => `related(first:100){nodes{id ${inside}}}`;

  test.each([
    ['{__typename}', 0],
    ['{thing{id}}', 1],
    ['{thing{a{id} b{a{id}}}}', 4],
    ['{total{amount}}', 1],
    ['{thing{offer{code price{amount}}}}', 2],
    ['{thing{offer{quote{rate}}}}', 3],
    ['{node(id:"1"){id ...on Invoice{lines{id}}}}', 2],
    ['{invoices{pageInfo{hasNextPage}}}', 1],
    ['{invoices{nodes{id}}}', 21],
    ['{invoices(first:20){nodes{lines{id}}}}', 41],
    ['{invoices(first:20){edges{cursor node{lines{id}}}}}', 41],
    ['{invoices(first:100){nodes{id total{amount} lines{amount{amount}} payments{id}}}}', 301],
    ['{invoices(first:100){nodes{id lines{id} payments{method{id}}}}}', 601],
    ['{invoices(first:3){...C}} fragment C on InvoiceConnection{nodes{...I}} fragment I on Invoice{lines{id}}', 7],
    ['{history{id}}', 6],
    ['{history(last:2){lines{id}}}', 4],
    ['mutation{pay{__typename}}', 10],
    ['mutation{pay{invoice{id}} again:pay{invoice{lines{id}}}}', 23],
    ['subscription{thing{id}}', 1],
  ])('%s costs %d', (source, expected) => {
    expect(cost(source)).toBe(expected);
  });

  test('three nested pages of 100 are over the limit, and so are two', () => {
    expect(cost(`{invoices(first:100){nodes{${related(related(''))}}}}`)).toBeGreaterThan(documentLimits.maxCost);
    expect(cost(`{invoices(first:100){nodes{${related('')}}}}`)).toBe(10_201);
  });

  test.each<[what: string, source: string, variables: Record<string, unknown>, expected: number]>([
    ['a variable', 'query($n:Int){invoices(first:$n){nodes{id}}}', { n: 7 }, 8],
    ["a variable's default", 'query($n:Int=5){invoices(first:$n){nodes{id}}}', {}, 6],
    ["the schema's default behind a variable not given", 'query($n:Int){invoices(first:$n){nodes{id}}}', {}, 21],
    ['the largest page where a variable is null', 'query($n:Int){invoices(first:$n){nodes{id}}}', { n: null }, 101],
    ['the largest page where a variable is no number', 'query($n:Int){invoices(first:$n){nodes{id}}}', { n: '7' }, 101],
    ['the largest page where it is null', '{invoices(first:null){nodes{id}}}', {}, 101],
    ['the largest page for more than that', '{invoices(first:2000000000){nodes{id}}}', {}, 101],
    ['the smallest page for less than that', '{invoices(first:-5){nodes{id}}}', {}, 2],
    [
      'an inherited property of the variables is no variable',
      'query($toString:Int){invoices(first:$toString){nodes{id}}}',
      {},
      21,
    ],
  ])('the page is %s', (_what, source, variables, expected) => {
    expect(cost(source, variables)).toBe(expected);
  });

  test('the operation named is the one that costs', () => {
    const source = 'query A{thing{id}} query B{invoices{nodes{id}}}';
    expect(cost(source, {}, 'A')).toBe(1);
    expect(cost(source, {}, 'B')).toBe(21);
    expect(cost(source, {}, 'C')).toBe(0);
    expect(cost(source)).toBe(0);
  });

  test('a page has 1 to 100 rows', () => {
    expect(pageSize).toEqual({ min: 1, max: 100 });
  });

  test('the measure of a document has all of its numbers', () => {
    const source = '{a:invoices(first:2)@skip(if:false){nodes{...F}}thing{id}} fragment F on Invoice{lines{id}}';
    expect(measureDocument(schema, parse(source))).toEqual({
      depth: 4,
      aliases: 1,
      rootFields: 2,
      fields: 6,
      directives: 1,
    });
  });
});
