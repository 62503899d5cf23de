import { anyIdOf, type IdKind, idPrefixes, newId, publicId, uuidOf } from '../../src/platform/ids.js';

const kinds = Object.keys(idPrefixes) as IdKind[];

test('every kind goes out and comes back, and no two share a prefix', () => {
  for (const kind of kinds) {
    const uuid = newId();
    const id = publicId(kind, uuid);
    expect(id).toMatch(new RegExp(`^${idPrefixes[kind]}_[0-9a-hjkmnp-tv-z]{26}$`));
    expect(anyIdOf(id)).toEqual({ kind, uuid });
    expect(uuidOf(kind, id)).toBe(uuid);
  }
  expect(new Set(Object.values(idPrefixes)).size).toBe(kinds.length);
});

test('an id of another kind is none of this kind', () => {
  const id = publicId('invoice', newId());
  for (const kind of kinds.filter((other) => other !== 'invoice')) expect(uuidOf(kind, id)).toBeUndefined();
});

test.each([
  '',
  'inv',
  'inv_',
  '_',
  'inv_short',
  'INV_01jd0000000000000000000000',
  'inv_01JD0000000000000000000000',
  'inv_8zzzzzzzzzzzzzzzzzzzzzzzzz',
  'inv_01jd000000000000000000000u',
  '01jd0000000000000000000000',
  'nope_01jd0000000000000000000000',
  'inv_01jd0000000000000000000000 ',
  'inv_01jd0000000000000000000000\0',
  '019aa000-0000-7000-8000-000000000001',
])('%j is no id', (text) => {
  expect(anyIdOf(text)).toBeUndefined();
});

test('ids sort by the time of their making, also as public ids: a key is a cursor', () => {
  const ids = Array.from({ length: 5_000 }, newId);
  expect([...ids].sort()).toEqual(ids);
  expect(new Set(ids).size).toBe(ids.length);
  const shown = ids.map((id) => publicId('event', id));
  expect([...shown].sort()).toEqual(shown);
});
