import 'reflect-metadata';
import { Field, ObjectType } from 'type-graphql';
import { invalid } from '../domain/errors.js';

/** Relay's PageInfo (https://relay.dev/graphql/connections.htm). */
@ObjectType('PageInfo')
export class PageInfo {
  @Field(() => Boolean)
  hasNextPage!: boolean;

  @Field(() => Boolean)
  hasPreviousPage!: boolean;

  @Field(() => String, { nullable: true })
  startCursor?: string | undefined;

  @Field(() => String, { nullable: true })
  endCursor?: string | undefined;
}

export interface Connection<Item> {
  edges: { cursor: string; node: Item }[];
  nodes: Item[];
  pageInfo: PageInfo;
}

/** Makes `XConnection` and `XEdge` for a GraphQL type. */
export function connectionType(name: string, node: () => unknown): new () => Connection<never> {
  @ObjectType(`${name}Edge`)
  class Edge {
    @Field(() => String)
    cursor!: string;

    @Field(node as () => typeof Object)
    node!: never;
  }

  @ObjectType(`${name}Connection`)
  class ConnectionOf {
    @Field(() => [Edge])
    edges!: Edge[];

    @Field(() => [node()] as [typeof Object])
    nodes!: never[];

    @Field(() => PageInfo)
    pageInfo!: PageInfo;
  }
  return ConnectionOf;
}

/** What `first` and `last` may be. */
export const pageSize = { min: 1, max: 100 };

export const isPageSize = (size: number): boolean =>
  Number.isInteger(size) && size >= pageSize.min && size <= pageSize.max;

export interface PageArgs {
  /** 1–100; null counts as the usual 20. */
  first: number | null | undefined;
  after?: string | null | undefined;
}

/** How a connection is ordered: what of an item stands in its cursor, and which texts can be one. */
export interface Keyset<Item> {
  cursorOf: (item: Item) => string;
  isCursor: (text: string) => boolean;
}

/**
 * Cuts a keyset page. `fetch` gets one row more than asked for, which tells whether there is a next page.
 * `first` outside 1–100 and an unreadable cursor are INVALID.
 */
export async function page<Item>(
  { first: asked, after }: PageArgs,
  keyset: Keyset<Item> & { fetch: (limit: number, after: string | undefined) => Promise<Item[]> },
): Promise<Connection<Item>> {
  const first = asked ?? 20;
  if (!isPageSize(first)) throw invalid(`first is ${first}, expected 1 to 100`, 'first');
  if (after != null && !keyset.isCursor(after)) {
    throw invalid(`'${after.slice(0, 60)}' is not a cursor of this connection`, 'after');
  }
  const found = await keyset.fetch(first + 1, after ?? undefined);
  const nodes = found.slice(0, first);
  const edges = nodes.map((node) => ({ cursor: keyset.cursorOf(node), node }));
  return {
    edges,
    nodes,
    pageInfo: {
      hasNextPage: found.length > first,
      hasPreviousPage: after != null,
      startCursor: edges[0]?.cursor,
      endCursor: edges.at(-1)?.cursor,
    },
  };
}

const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Newest first by id: ids are UUIDv7, so they sort by time of creation. */
export const byId: Keyset<{ id: string }> = { cursorOf: (item) => item.id, isCursor: (text) => uuidPattern.test(text) };
