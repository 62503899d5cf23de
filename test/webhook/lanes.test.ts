import { createLanes } from '../../src/webhook/lanes.js';

const at = 1_000_000;

function enter(lanes: ReturnType<typeof createLanes>, endpointId = 'a') {
  const place = lanes.enter(endpointId, at);
  return 'leave' in place ? place : undefined;
}

const stepAside = (lanes: ReturnType<typeof createLanes>, endpointId = 'a'): number => {
  const place = lanes.enter(endpointId, at);
  if (!('stepAsideMs' in place)) throw new Error('got a place');
  return place.stepAsideMs;
};

test('an endpoint of which nothing is known gets four places, the rest step aside, each later than the one before', () => {
  const lanes = createLanes();
  for (let i = 0; i < 4; i++) expect(enter(lanes)).toBeDefined();
  expect([stepAside(lanes), stepAside(lanes), stepAside(lanes)]).toEqual([125, 250, 375]);
});

test('one endpoint says nothing about another', () => {
  const lanes = createLanes();
  for (let i = 0; i < 5; i++) lanes.enter('a', at);
  expect(enter(lanes, 'b')).toBeDefined();
});

test('a fast endpoint may use every place', () => {
  const lanes = createLanes();
  const first = enter(lanes);
  enter(lanes);
  first?.leave(20);
  for (let i = 0; i < 20; i++) expect(enter(lanes)).toBeDefined();
});

test('what waits for a slow endpoint is spread over the time it takes, at most a minute', () => {
  const lanes = createLanes();
  const places = [1, 2, 3, 4].map(() => enter(lanes));
  for (const place of places) place?.leave(15_000);
  for (let i = 0; i < 4; i++) expect(enter(lanes)).toBeDefined();
  expect(stepAside(lanes)).toBe(3_750);
  expect(stepAside(lanes)).toBe(7_500);
  for (let i = 0; i < 100; i++) lanes.enter('a', at);
  expect(stepAside(lanes)).toBe(60_000);
});

test('an endpoint that was slow and is fast again is fast again', () => {
  const lanes = createLanes();
  enter(lanes)?.leave(15_000);
  enter(lanes)?.leave(5);
  for (let i = 0; i < 4; i++) enter(lanes)?.leave(5);
  for (let i = 0; i < 4; i++) expect(enter(lanes)).toBeDefined();
});
