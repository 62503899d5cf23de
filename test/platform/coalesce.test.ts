import { createCoalescer } from '../../src/platform/coalesce.js';

/** A flush that the test finishes by hand, batch by batch. */
function setUp(maxItems = 100) {
  const batches: { key: string; items: readonly number[]; finish: () => void; fail: (error: Error) => void }[] = [];
  const coalescer = createCoalescer<number, string>({
    maxItems,
    flush: (key, items) =>
      new Promise((resolve, reject) => {
        batches.push({ key, items, finish: () => resolve(items.map((item) => `${key}${item}`)), fail: reject });
      }),
  });
  return { batches, add: coalescer.add };
}
const turn = () => new Promise((resolve) => setImmediate(resolve));

test('a lone caller is flushed at once; who comes meanwhile goes together into the next flush', async () => {
  const { batches, add } = setUp();
  const first = add('a', [1]);
  expect(batches.map(({ items }) => items)).toEqual([[1]]);
  const [second, third] = [add('a', [2, 3]), add('a', [4])];
  await turn();
  expect(batches).toHaveLength(1);
  batches[0]!.finish();
  expect(await first).toEqual(['a1']);
  await turn();
  expect(batches.map(({ items }) => items)).toEqual([[1], [2, 3, 4]]);
  batches[1]!.finish();
  expect(await Promise.all([second, third])).toEqual([['a2', 'a3'], ['a4']]);
});

test('keys don’t wait for each other', async () => {
  const { batches, add } = setUp();
  const [a, b] = [add('a', [1]), add('b', [2])];
  expect(batches.map(({ key }) => key)).toEqual(['a', 'b']);
  batches[1]!.finish();
  expect(await b).toEqual(['b2']);
  batches[0]!.finish();
  expect(await a).toEqual(['a1']);
});

test('a failed flush fails its callers only, and the next ones go on', async () => {
  const { batches, add } = setUp();
  const first = add('a', [1]);
  const second = add('a', [2]);
  batches[0]!.fail(new Error('lost'));
  await expect(first).rejects.toThrow('lost');
  await turn();
  batches[1]!.finish();
  expect(await second).toEqual(['a2']);
});

test('a batch holds at most maxItems, but never splits a caller', async () => {
  const { batches, add } = setUp(3);
  const all = [add('a', [0]), add('a', [1, 2]), add('a', [3, 4]), add('a', [5, 6, 7, 8]), add('a', [9])];
  for (let i = 0; i < 5 && batches[i]; i++) {
    batches[i]!.finish();
    await turn();
  }
  expect(batches.map(({ items }) => items)).toEqual([[0], [1, 2], [3, 4], [5, 6, 7, 8], [9]]);
  expect((await Promise.all(all)).flat()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => `a${n}`));
});

test('after a pause the key starts anew, at once', async () => {
  const { batches, add } = setUp();
  for (const n of [1, 2]) {
    const added = add('a', [n]);
    expect(batches).toHaveLength(n);
    batches[n - 1]!.finish();
    await added;
    await turn();
  }
});
