import fs from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { eventTable } from '../src/domain/eventCatalogue.js';
import { exampleDelivery } from '../src/domain/eventExamples.js';
import { createSecret, signatureHeaders } from '../src/webhook/signature.js';
import { type Program, startProgram } from './support/program.js';

// The README's receiver as its reader would have it: the text from the page, run as a program of its own.

const readme = fs.readFileSync('README.md', 'utf8');
const programIn = (language: string): string =>
  new RegExp(`^## Receiving webhooks\\n(?:.|\\n)*?^\`\`\`${language}\\n((?:.|\\n)*?)^\`\`\`\\n`, 'm').exec(readme)![1]!;

/** Below our own folder, where the packages it imports are found. */
const folder = path.resolve('dist', 'receiver');
const [oldSecret, newSecret] = [createSecret(), createSecret()];
const body = JSON.stringify(exampleDelivery('invoice.paid'));
let program: Program;
let url: string;
beforeAll(async () => {
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, 'receiver.mjs'), programIn('js'));
  const env = { WEBHOOK_SECRETS: `${oldSecret} ${newSecret}`, PORT: '0' };
  program = startProgram('../receiver/receiver.mjs', [], env, { cwd: folder });
  const [, listening] = await program.printed(/listening on (\S+)/);
  url = `${listening}/webhooks`;
});
afterAll(async () => {
  await program.stop('SIGKILL');
  fs.rmSync(folder, { recursive: true });
});

async function post({
  id,
  secrets,
  sent = body,
  at = new Date(),
}: {
  id: string;
  secrets: string[];
  sent?: string;
  at?: Date;
}) {
  const headers = { ...signatureHeaders({ id, at, body, secrets }), 'content-type': 'application/json' };
  return (await fetch(url, { method: 'POST', headers, body: sent })).status;
}

test('the Node receiver takes what is signed with either secret or with both, and keeps the bytes it got', async () => {
  expect(await post({ id: 'evt_old', secrets: [oldSecret!] })).toBe(204);
  expect(await post({ id: 'evt_new', secrets: [newSecret!] })).toBe(204);
  expect(await post({ id: 'evt_both', secrets: [newSecret!, oldSecret!] })).toBe(204);
  const inbox = new DatabaseSync(path.join(folder, 'inbox.db'), { readOnly: true });
  const rows = inbox.prepare('select id, body from inbox order by id').all();
  inbox.close();
  expect(rows.map(({ id, body: kept }) => [id, kept])).toEqual(
    ['evt_both', 'evt_new', 'evt_old'].map((id) => [id, body]),
  );
});

test('it knows a repeat, and does its work once', async () => {
  for (let i = 0; i < 3; i++) expect(await post({ id: 'evt_again', secrets: [oldSecret!] })).toBe(204);
  await program.printed(/work evt_again invoice\.paid/);
  const lines = program.stdout().split('\n');
  expect(lines.filter((line) => line.endsWith(' evt_again'))).toEqual([
    'new evt_again',
    'repeat evt_again',
    'repeat evt_again',
  ]);
  expect(lines.filter((line) => line.startsWith('work evt_again'))).toHaveLength(1);
});

test('it refuses another secret, a changed body, an old signature, and none', async () => {
  expect(await post({ id: 'evt_x', secrets: [createSecret()] })).toBe(401);
  expect(await post({ id: 'evt_x', secrets: [oldSecret!], sent: body.replace('58.31', '5831.00') })).toBe(401);
  expect(await post({ id: 'evt_x', secrets: [oldSecret!], at: new Date(Date.now() - 600_000) })).toBe(401);
  const unsigned = { method: 'POST', headers: { 'content-type': 'application/json' }, body };
  expect((await fetch(url, unsigned)).status).toBe(401);
  expect(program.stdout()).not.toContain('evt_x');
});

test('the README’s table of events is the catalogue’s (print it with: npx billing event types)', () => {
  const found = /^\| event \| happens when .*\n(?:\|.*\n)+/m.exec(readme)?.[0];
  expect(found).toBe(`${eventTable()}\n`);
});

test('there is a program for Python and for Go too', () => {
  expect(programIn('python')).toContain('from standardwebhooks import Webhook, WebhookVerificationError');
  expect(programIn('go')).toContain('"github.com/standard-webhooks/standard-webhooks/libraries/go"');
});
