import {
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLArgument,
  GraphQLError,
  type GraphQLNamedType,
  type GraphQLSchema,
  getNamedType,
  getNullableType,
  getOperationAST,
  isCompositeType,
  isInterfaceType,
  isLeafType,
  isListType,
  isObjectType,
  Kind,
  Lexer,
  type OperationDefinitionNode,
  parse,
  type SelectionSetNode,
  Source,
  TokenKind,
  type ValueNode,
} from 'graphql';

/** The most that one document may ask for; each number is still allowed. */
export interface DocumentLimits {
  /** Lexical tokens, comments aside. */
  maxTokens: number;
  maxDefinitions: number;
  /** Levels of nested fields, fragments expanded: `{ viewer { name } }` has 2. */
  maxDepth: number;
  maxAliases: number;
  /** Fields at the top of one operation. */
  maxRootFields: number;
  maxFields: number;
  maxDirectives: number;
  /** What `documentCost` may come to. */
  maxCost: number;
}

export const documentLimits: DocumentLimits = {
  maxTokens: 2000,
  maxDefinitions: 20,
  maxDepth: 12,
  maxAliases: 30,
  maxRootFields: 20,
  maxFields: 300,
  maxDirectives: 20,
  maxCost: 1000,
};

/** What `first` and `last` may be. */
export const pageSize = { min: 1, max: 100 };

/**
 * `__schema` and `__type` have caps of their own: the query that tools send (graphql-js' `getIntrospectionQuery` with
 * everything switched on) is 15 levels deep and has 232 fields, and it reads memory, not the database.
 */
const introspection = { maxDepth: 20, maxFields: 500 };

/** Brackets of any kind within each other; the depth of fields and of JSON literals that anyone writes is far below. */
const maxNesting = 100;
const opening: ReadonlySet<TokenKind> = new Set([TokenKind.BRACE_L, TokenKind.BRACKET_L, TokenKind.PAREN_L]);
const closing: ReadonlySet<TokenKind> = new Set([TokenKind.BRACE_R, TokenKind.BRACKET_R, TokenKind.PAREN_R]);

const mutationCost = 10;
/** Assumed length of a list whose length the document doesn't say. */
const listLength = 3;

/** A document in numbers. All but `cost` are counted with every fragment expanded wherever it is spread. */
export interface DocumentMeasure {
  /** Of the deepest definition; introspection aside. */
  depth: number;
  aliases: number;
  /** Of the operation that has the most. */
  rootFields: number;
  /** Introspection aside. */
  fields: number;
  directives: number;
  cost: number;
}

interface Counts extends Omit<DocumentMeasure, 'cost'> {
  introspectionDepth: number;
  introspectionFields: number;
}

const countNothing = (): Counts => ({
  depth: 0,
  aliases: 0,
  rootFields: 0,
  fields: 0,
  directives: 0,
  introspectionDepth: 0,
  introspectionFields: 0,
});

/** Nested fragments multiply beyond what a number holds exactly; a sum stops there instead of losing its meaning. */
const saturate = (sum: number): number => Math.min(sum, Number.MAX_SAFE_INTEGER);

const refuse = (message: string, nodes?: FragmentDefinitionNode): GraphQLError =>
  new GraphQLError(message, { nodes, extensions: { code: 'INVALID' } });

/**
 * Parses a document of at most `maxTokens` tokens. Throws a GraphQLError with `extensions.code` INVALID for a larger or
 * more deeply nested one, GRAPHQL_PARSE_FAILED for a syntax error.
 */
export function parseLimited(source: string, limits: DocumentLimits = documentLimits): DocumentNode {
  scanTokens(source, limits.maxTokens);
  try {
    return parse(source);
  } catch (error) {
    if (!(error instanceof GraphQLError)) throw error;
    const { message, positions } = error;
    throw new GraphQLError(message, { source: error.source, positions, extensions: { code: 'GRAPHQL_PARSE_FAILED' } });
  }
}

/**
 * Refuses what the parser can't take. Its own `maxTokens` isn't enough: it recurses once per bracket, and some 1,900
 * of them overflow the stack of a fresh process.
 */
function scanTokens(source: string, maxTokens: number): void {
  const lexer = new Lexer(new Source(source));
  const advance = (): TokenKind => {
    try {
      return lexer.advance().kind;
    } catch {
      // A character that starts no token: the parser says where.
      return TokenKind.EOF;
    }
  };
  let nesting = 0;
  for (let tokens = 1, kind = advance(); kind !== TokenKind.EOF; tokens++, kind = advance()) {
    if (tokens > maxTokens) {
      throw refuse(`The document has more than ${maxTokens} tokens, at most ${maxTokens} are allowed`);
    }
    if (opening.has(kind)) nesting++;
    if (closing.has(kind)) nesting--;
    if (nesting > maxNesting) throw refuse(`The document nests brackets more than ${maxNesting} deep`);
  }
}

/**
 * The errors, all INVALID, of a document that asks for too much; none if it is within the limits. Made to run before
 * `validate`, whose rules take polynomial time in the expanded document: this takes linear time in the written one.
 * Unknown names are left to `validate`. A fragment that spreads itself is refused here, as it has no finite size.
 */
export function checkDocument(
  schema: GraphQLSchema,
  document: DocumentNode,
  limits: DocumentLimits = documentLimits,
): GraphQLError[] {
  const written: Row[] = [
    [document.definitions.length, limits.maxDefinitions, 'definitions'],
    [document.tokenCount ?? 0, limits.maxTokens, 'tokens'],
  ];
  const oversized = refuseRows(written);
  if (oversized.length > 0) return oversized;

  const { counts, cyclic } = countDocument(schema, document);
  const expanded: Row[] = [
    [counts.depth, limits.maxDepth, 'levels of nested fields'],
    [counts.introspectionDepth, introspection.maxDepth, 'levels of nested introspection fields'],
    [counts.aliases, limits.maxAliases, 'aliases'],
    [counts.rootFields, limits.maxRootFields, 'root fields'],
    [counts.fields, limits.maxFields, 'fields'],
    [counts.introspectionFields, introspection.maxFields, 'introspection fields'],
    [counts.directives, limits.maxDirectives, 'directives'],
  ];
  return [
    ...cyclic.map((fragment) => refuse(`Fragment '${fragment.name.value}' spreads itself, directly or not`, fragment)),
    ...refuseRows(expanded, ' with its fragments expanded'),
  ];
}

type Row = [found: number, allowed: number, what: string];

const refuseRows = (rows: readonly Row[], how = ''): GraphQLError[] =>
  rows
    .filter(([found, allowed]) => found > allowed)
    .map(([found, allowed, what]) => refuse(`The document has ${found} ${what}${how}, at most ${allowed} are allowed`));

/** The document in numbers, for a log line or a test; `cost` is that of the operation named. */
export function measureDocument(
  schema: GraphQLSchema,
  document: DocumentNode,
  operationName?: string | null,
  variables?: Readonly<Record<string, unknown>>,
): DocumentMeasure {
  const { depth, aliases, rootFields, fields, directives } = countDocument(schema, document).counts;
  const cost = documentCost(schema, document, operationName, variables);
  return { depth, aliases, rootFields, fields, directives, cost };
}

/**
 * Counts each fragment once, however often it is spread. Fragments that no operation reaches count too, since
 * `validate` walks them.
 */
function countDocument(
  schema: GraphQLSchema,
  document: DocumentNode,
): { counts: Counts; cyclic: FragmentDefinitionNode[] } {
  const queryRoot = schema.getQueryType()?.name;
  const fragments = findFragments(document);
  const counted = new Map<FragmentDefinitionNode, Counts>();
  const open = new Set<FragmentDefinitionNode>();
  const cyclic = new Set<FragmentDefinitionNode>();

  const countFragment = (fragment: FragmentDefinitionNode): Counts => {
    const known = counted.get(fragment);
    if (known) return known;
    if (open.has(fragment)) {
      cyclic.add(fragment);
      return countNothing();
    }
    open.add(fragment);
    const counts = countSelections(fragment.selectionSet, fragment.typeCondition.name.value === queryRoot);
    counts.directives = saturate(counts.directives + (fragment.directives?.length ?? 0));
    open.delete(fragment);
    counted.set(fragment, counts);
    return counts;
  };

  const countField = (field: FieldNode, atQueryRoot: boolean): Counts => {
    const counts = field.selectionSet ? countSelections(field.selectionSet, false) : countNothing();
    if (field.alias) counts.aliases = saturate(counts.aliases + 1);
    counts.rootFields = 1;
    counts.fields = saturate(counts.fields + 1);
    counts.depth++;
    if (atQueryRoot && (field.name.value === '__schema' || field.name.value === '__type')) {
      counts.introspectionFields = counts.fields;
      counts.introspectionDepth = counts.depth;
      counts.fields = 0;
      counts.depth = 0;
    }
    return counts;
  };

  const countSelections = ({ selections }: SelectionSetNode, atQueryRoot: boolean): Counts => {
    const counts = countNothing();
    for (const selection of selections) {
      if (selection.kind === Kind.FIELD) {
        addCounts(counts, countField(selection, atQueryRoot));
      } else if (selection.kind === Kind.INLINE_FRAGMENT) {
        addCounts(counts, countSelections(selection.selectionSet, atQueryRoot));
      } else {
        const fragment = fragments.get(selection.name.value);
        if (fragment) addCounts(counts, countFragment(fragment));
      }
      counts.directives = saturate(counts.directives + (selection.directives?.length ?? 0));
    }
    return counts;
  };

  const counts = countNothing();
  for (const definition of document.definitions) {
    if (definition.kind !== Kind.OPERATION_DEFINITION) continue;
    const own = countSelections(definition.selectionSet, definition.operation === 'query');
    addCounts(counts, { ...own, rootFields: 0 });
    counts.rootFields = Math.max(counts.rootFields, own.rootFields);
    counts.directives += [definition, ...(definition.variableDefinitions ?? [])].flatMap(
      (n) => n.directives ?? [],
    ).length;
  }
  for (const fragment of document.definitions) {
    if (fragment.kind !== Kind.FRAGMENT_DEFINITION || counted.has(fragment)) continue;
    addCounts(counts, { ...countFragment(fragment), rootFields: 0 });
  }
  return { counts, cyclic: [...cyclic] };
}

function addCounts(sum: Counts, part: Counts): void {
  sum.depth = Math.max(sum.depth, part.depth);
  sum.introspectionDepth = Math.max(sum.introspectionDepth, part.introspectionDepth);
  for (const key of ['aliases', 'rootFields', 'fields', 'directives', 'introspectionFields'] as const) {
    sum[key] = saturate(sum[key] + part[key]);
  }
}

const findFragments = (document: DocumentNode): Map<string, FragmentDefinitionNode> =>
  new Map(document.definitions.flatMap((d) => (d.kind === Kind.FRAGMENT_DEFINITION ? [[d.name.value, d]] : [])));

/**
 * What running the operation may cost, before it runs: about the number of objects it reads.
 *
 * - A field that returns an object or a list costs 1, a root field of a mutation 10, a leaf nothing. An object made of
 *   leaves only, without an identity (Money, Period, PageInfo), is part of its parent's row and costs nothing.
 * - What is below a field with `first` or `last` costs that many times as much, below another list 3 times. `nodes` and
 *   `edges` of a connection are its page, so they don't multiply again; a row costs 1 by either way.
 * - `first` comes from the document, the variables or the schema's default. Outside `pageSize` the field itself refuses
 *   it, so it is priced at the bound; where nothing says it, at the largest page.
 *
 * `variables` are the raw ones, not yet coerced. Never more than a thousand times `maxCost`; 0 if `operationName`
 * names no operation, as nothing runs then. Introspection is free: `checkDocument` caps it.
 */
export function documentCost(
  schema: GraphQLSchema,
  document: DocumentNode,
  operationName?: string | null,
  variables: Readonly<Record<string, unknown>> | null = {},
  limits: DocumentLimits = documentLimits,
): number {
  const operation = getOperationAST(document, operationName);
  const root = operation && schema.getRootType(operation.operation);
  if (!operation || !root) return 0;
  const ceiling = 1000 * limits.maxCost;
  const fragments = findFragments(document);
  const known = new Map<FragmentDefinitionNode, number>();

  const priceSelections = ({ selections }: SelectionSetNode, parent: GraphQLNamedType): number => {
    let sum = 0;
    for (const selection of selections) {
      if (selection.kind === Kind.FIELD) {
        sum += priceField(selection, parent);
      } else if (selection.kind === Kind.INLINE_FRAGMENT) {
        const type = selection.typeCondition ? schema.getType(selection.typeCondition.name.value) : parent;
        if (type) sum += priceSelections(selection.selectionSet, type);
      } else {
        const fragment = fragments.get(selection.name.value);
        if (fragment) sum += priceFragment(fragment);
      }
      sum = Math.min(sum, ceiling);
    }
    return sum;
  };

  const priceFragment = (fragment: FragmentDefinitionNode): number => {
    if (!known.has(fragment)) {
      // A fragment that spreads itself adds nothing the second time; `validate` refuses it.
      known.set(fragment, 0);
      const type = schema.getType(fragment.typeCondition.name.value);
      if (type) known.set(fragment, priceSelections(fragment.selectionSet, type));
    }
    return known.get(fragment) ?? 0;
  };

  const priceField = (field: FieldNode, parent: GraphQLNamedType): number => {
    const definition =
      isObjectType(parent) || isInterfaceType(parent) ? parent.getFields()[field.name.value] : undefined;
    if (!definition) return 0;
    if (parent === root && operation.operation === 'mutation') {
      const payload = getNamedType(definition.type);
      return mutationCost + (field.selectionSet ? priceSelections(field.selectionSet, payload) : 0);
    }
    const type = getNamedType(definition.type);
    if (!field.selectionSet || !isCompositeType(type)) return 0;

    const isList = isListType(getNullableType(definition.type));
    const isPage = isList && parent.name.endsWith('Connection');
    const asked = askedSize(field, definition.args, operation, variables ?? {});
    const isFree = (isPage && field.name.value === 'edges') || (!isList && parent !== root && isValueObject(type));
    const own = isFree ? 0 : isList ? (asked ?? 1) : 1;
    const length = asked ?? (isList && !isPage ? listLength : 1);
    return own + length * priceSelections(field.selectionSet, type);
  };

  return priceSelections(operation.selectionSet, root);
}

/** The larger of `first` and `last`, within `pageSize`; `undefined` for a field that takes neither. */
function askedSize(
  field: FieldNode,
  args: readonly GraphQLArgument[],
  operation: OperationDefinitionNode,
  variables: Readonly<Record<string, unknown>>,
): number | undefined {
  const sizeArgs = args.filter(({ name }) => name === 'first' || name === 'last');
  if (sizeArgs.length === 0) return undefined;
  const readInt = (value: ValueNode | undefined): unknown =>
    value?.kind === Kind.INT ? Number(value.value) : undefined;
  const sizes = sizeArgs.map((arg) => {
    const value = field.arguments?.find(({ name }) => name.value === arg.name)?.value;
    if (value?.kind !== Kind.VARIABLE) return value ? readInt(value) : arg.defaultValue;
    const name = value.name.value;
    if (Object.hasOwn(variables, name)) return variables[name];
    const declared = operation.variableDefinitions?.find(({ variable }) => variable.name.value === name)?.defaultValue;
    return declared ? readInt(declared) : arg.defaultValue;
  });
  const numbers = sizes.filter((size) => typeof size === 'number' && !Number.isNaN(size)) as number[];
  return Math.min(Math.max(pageSize.min, ...(numbers.length > 0 ? numbers : [pageSize.max])), pageSize.max);
}

/** Leaves and value objects all the way down, no arguments, no interface: nothing of it is fetched on its own. */
function isValueObject(type: GraphQLNamedType, above: readonly GraphQLNamedType[] = []): boolean {
  if (!isObjectType(type) || type.getInterfaces().length > 0 || above.includes(type)) return false;
  return Object.values(type.getFields()).every((field) => {
    const named = getNamedType(field.type);
    return field.args.length === 0 && (isLeafType(named) || isValueObject(named, [...above, type]));
  });
}
