import { byId, page } from '../../src/platform/connection.js';
import { newId } from '../../src/platform/ids.js';

const items = Array.from({ length: 10 }, () => ({ id: newId() }));
/** A table in memory, by id ascending, that says how many rows it was asked for. */
function table(count: number) {
  const asked: number[] = [];
  const fetch = async (limit: number, after: string | undefined) => {
    asked.push(limit);
    return items
      .slice(0, count)
      .filter(({ id }) => after === undefined || id > after)
      .slice(0, limit);
  };
  return { asked, fetch };
}

test.each([
  { count: 0, first: 3, pages: 1 },
  { count: 2, first: 3, pages: 1 },
  { count: 3, first: 3, pages: 1 },
  { count: 4, first: 3, pages: 2 },
  { count: 9, first: 3, pages: 3 },
  { count: 10, first: 1, pages: 10 },
  { count: 10, first: 100, pages: 1 },
])('$count items by $first are $pages pages that meet each once', async ({ count, first, pages }) => {
  const { asked, fetch } = table(count);
  const met: { id: string }[] = [];
  let after: string | undefined;
  for (let n = 1; ; n++) {
    const { nodes, edges, pageInfo } = await page({ first, after }, { ...byId, fetch });
    met.push(...nodes);
    expect(edges).toEqual(nodes.map((node) => ({ cursor: node.id, node })));
    expect(pageInfo).toEqual({
      hasNextPage: n < pages,
      hasPreviousPage: n > 1,
      startCursor: nodes[0]?.id,
      endCursor: nodes.at(-1)?.id,
    });
    if (!pageInfo.hasNextPage) break;
    after = pageInfo.endCursor;
  }
  expect(met).toEqual(items.slice(0, count));
  expect(asked).toEqual(Array(pages).fill(first + 1));
});

test('null and nothing count as 20', async () => {
  const { asked, fetch } = table(1);
  for (const first of [null, undefined]) await page({ first, after: null }, { ...byId, fetch });
  expect(asked).toEqual([21, 21]);
});

test.each([
  0,
  -1,
  101,
  1.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
])('first: %p is INVALID, and nothing is read', async (first) => {
  const { asked, fetch } = table(1);
  await expect(page({ first }, { ...byId, fetch })).rejects.toMatchObject({
    code: 'INVALID',
    details: { field: ['first'] },
  });
  expect(asked).toEqual([]);
});

test.each([
  '',
  'x',
  '019AA000-0000-7000-8000-000000000001',
  "' or 1=1 --",
  '019aa000-0000-7000-8000-000000000001\n',
])('after: %j is INVALID, and nothing is read', async (after) => {
  const { asked, fetch } = table(1);
  await expect(page({ first: 1, after }, { ...byId, fetch })).rejects.toMatchObject({
    code: 'INVALID',
    details: { field: ['after'] },
  });
  expect(asked).toEqual([]);
});
