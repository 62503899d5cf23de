import { createLanes, type Lanes } from '../../src/webhook/lanes.js';

const at = 1_000_000;

/** An endpoint that has answered once, after so many milliseconds. */
function answered(lanes: Lanes, endpointId: string, durationMs: number): void {
  lanes.enter(endpointId, at)(durationMs);
}

const enterAll = (lanes: Lanes, endpointId: string, nowMs = at) =>
  Array.from({ length: lanes.room(endpointId, nowMs) }, () => lanes.enter(endpointId, nowMs));

test('an endpoint of which nothing is known gets four places; then it is full', () => {
  const lanes = createLanes();
  expect(enterAll(lanes, 'a')).toHaveLength(4);
  expect([lanes.room('a', at), lanes.full(at)]).toEqual([0, ['a']]);
});

test('one endpoint says nothing about another', () => {
  const lanes = createLanes();
  enterAll(lanes, 'a');
  expect(lanes.room('b', at)).toBe(4);
});

test('a fast endpoint gets ten', () => {
  const lanes = createLanes();
  answered(lanes, 'a', 20);
  expect(lanes.room('a', at)).toBe(10);
  enterAll(lanes, 'a');
  expect(lanes.full(at)).toEqual(['a']);
});

test('a slow endpoint gets four, and is fast again when it has answered fast', () => {
  const lanes = createLanes();
  answered(lanes, 'a', 15_000);
  expect(lanes.room('a', at)).toBe(4);
  answered(lanes, 'a', 5);
  expect(lanes.room('a', at)).toBe(10);
});

test('a fast endpoint that leaves an attempt without an answer is slow before that ends', () => {
  const lanes = createLanes();
  answered(lanes, 'a', 20);
  lanes.enter('a', at);
  expect([lanes.room('a', at + 499), lanes.room('a', at + 500)]).toEqual([9, 3]);
});

test('however many endpoints hang, forty places are left for the others', () => {
  const lanes = createLanes();
  for (let i = 0; i < 100; i++) {
    answered(lanes, `slow ${i}`, 15_000);
    enterAll(lanes, `slow ${i}`);
  }
  expect(lanes.free()).toBe(40);
  expect(lanes.full(at)).toHaveLength(100);
  answered(lanes, 'a', 5);
  expect(lanes.room('a', at)).toBe(10);
});

test('a place that is left is free again', () => {
  const lanes = createLanes();
  const [leave] = enterAll(lanes, 'a');
  leave!(undefined);
  expect([lanes.free(), lanes.room('a', at)]).toEqual([97, 1]);
});
