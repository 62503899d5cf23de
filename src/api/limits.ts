import {
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  GraphQLError,
  type GraphQLSchema,
  Kind,
  Lexer,
  parse,
  type SelectionSetNode,
  Source,
  TokenKind,
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

/**
 * `__schema` and `__type` have caps of their own: the query that tools send (graphql-js' `getIntrospectionQuery` with
 * everything switched on) is 15 levels deep and has 232 fields, and it reads memory, not the database.
 */
const introspection = { maxDepth: 20, maxFields: 500 };

/** Brackets of any kind within each other; the depth of fields and of JSON literals that anyone writes is far below. */
const maxNesting = 100;
const opening: ReadonlySet<TokenKind> = new Set([TokenKind.BRACE_L, TokenKind.BRACKET_L, TokenKind.PAREN_L]);
const closing: ReadonlySet<TokenKind> = new Set([TokenKind.BRACE_R, TokenKind.BRACKET_R, TokenKind.PAREN_R]);

/** A document in numbers, counted with every fragment expanded wherever it is spread. */
export interface DocumentMeasure {
  /** Of the deepest definition; introspection aside. */
  depth: number;
  aliases: number;
  /** Of the operation that has the most. */
  rootFields: number;
  /** Introspection aside. */
  fields: number;
  directives: number;
}

interface Counts extends DocumentMeasure {
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

/** The document in numbers. */
export function measureDocument(schema: GraphQLSchema, document: DocumentNode): DocumentMeasure {
  const { depth, aliases, rootFields, fields, directives } = countDocument(schema, document).counts;
  return { depth, aliases, rootFields, fields, directives };
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

/** A document's fragments by name. */
export const findFragments = (document: DocumentNode): Map<string, FragmentDefinitionNode> =>
  new Map(document.definitions.flatMap((d) => (d.kind === Kind.FRAGMENT_DEFINITION ? [[d.name.value, d]] : [])));
