import {
  type DocumentNode,
  type GraphQLError,
  type GraphQLSchema,
  NoSchemaIntrospectionCustomRule,
  specifiedRules,
  validate,
} from 'graphql';
import { checkDocument, parseLimited } from './limits.js';

/** Documents that come again and again are parsed and checked once. How many, and of what length: some 50 MB at the very most. */
const maxKept = 250;
const maxKeptLength = 4_000;

export interface Documents {
  /** The parsed document. Throws a GraphQLError for one that can't be parsed, or asks for more than the limits allow. */
  read(text: string): DocumentNode;
  /** What is wrong with it by the schema. For whoever executes it without Apollo, which looks for itself. */
  mistakes(document: DocumentNode): readonly GraphQLError[];
}

export function createDocuments({
  schema,
  introspection,
}: {
  schema: GraphQLSchema;
  introspection: boolean;
}): Documents {
  const rules = introspection ? specifiedRules : [...specifiedRules, NoSchemaIntrospectionCustomRule];
  const kept = new Map<string, DocumentNode>();
  const mistakes = new WeakMap<DocumentNode, readonly GraphQLError[]>();
  return {
    read: (text) => {
      const known = kept.get(text);
      kept.delete(text); // and behind the others again: the longest unused goes first
      const document = known ?? parseLimited(text);
      if (!known) {
        const [broken] = checkDocument(schema, document);
        if (broken) throw broken;
      }
      if (text.length <= maxKeptLength) kept.set(text, document);
      if (kept.size > maxKept) kept.delete(kept.keys().next().value!);
      return document;
    },
    mistakes: (document) => {
      const found = mistakes.get(document) ?? validate(schema, document, rules);
      mistakes.set(document, found);
      return found;
    },
  };
}
