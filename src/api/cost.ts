import {
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLArgument,
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
  type OperationDefinitionNode,
  type SelectionSetNode,
  type ValueNode,
} from 'graphql';
import { pageSize } from '../platform/connection.js';
import { type DocumentLimits, documentLimits, findFragments } from './limits.js';

const mutationCost = 10;
/** Assumed length of a list whose length the document doesn't say. */
const listLength = 3;

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
