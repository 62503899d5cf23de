import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { createPostgresPubSub } from '../../src/integrations/pubsub/postgres.js';
import type { PubSub } from '../../src/integrations/pubsub/pubsub.js';
import { createRedisPubSub } from '../../src/integrations/pubsub/redis.js';
import { freePort } from '../support/program.js';
import { testRedis, withoutRedis } from '../support/redis.js';
import { startTcpProxy } from '../support/tcpProxy.js';
import { asAdmin, until } from '../support/world.js';

/** A kind of wire between processes, and what may befall it. */
interface Bench {
  url: string;
  create(options: { url: string; onError: (error: Error) => void; checkMs?: number }): PubSub;
  /** The connections are lost; whether they can come back at once is the bench's affair. */
  interrupt(): Promise<void>;
  restore(): Promise<void>;
  /** Somebody else says something on the channel. */
  say(payload: string): Promise<void>;
  stop(): Promise<void>;
}

const benches: Record<string, { reason?: string | undefined; start: () => Promise<Bench> }> = {
  postgres: {
    start: async () => {
      const base = process.env.TEST_PG_URL!;
      const name = `pubsub_${randomUUID().replaceAll('-', '')}`;
      await asAdmin(base, (admin) => admin.query(`create database ${name}`));
      const other = new pg.Client({ connectionString: base.replace(/[^/]+$/, name) });
      await other.connect();
      return {
        url: base.replace(/[^/]+$/, name),
        create: createPostgresPubSub,
        interrupt: async () => {
          await other.query(
            'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
          );
        },
        restore: async () => {},
        say: async (payload) => {
          await other.query(`select pg_notify('billing_hint', $1)`, [payload]);
        },
        stop: async () => {
          await other.end();
          await asAdmin(base, (admin) => admin.query(`drop database ${name} with (force)`));
        },
      };
    },
  },
  redis: {
    reason: withoutRedis,
    start: async () => {
      const server = await testRedis();
      await server.start();
      return {
        url: server.url,
        create: createRedisPubSub,
        interrupt: () => server.kill(),
        restore: () => server.start(),
        say: async (payload) => {
          const { Redis } = await import('ioredis');
          const speaker = new Redis(server.url);
          await speaker.publish('billing_hint', payload);
          speaker.disconnect();
        },
        stop: () => server.kill(),
      };
    },
  },
};

for (const [name, { reason, start }] of Object.entries(benches)) {
  if (reason !== undefined) process.stderr.write(`Hints between processes by ${name} are not tested: ${reason}\n`);
  describe.each([name])('hints between processes by %s', () => {
    const fact = reason === undefined ? test : test.skip;
    let bench: Bench;
    beforeAll(async () => {
      if (reason === undefined) bench = await start();
    });
    afterAll(() => bench?.stop());

    const open: PubSub[] = [];
    afterEach(async () => {
      await Promise.all(open.splice(0).map((pubsub) => pubsub.close()));
    });

    /** One process's end, connected; with the errors it tells and its gaps. */
    async function process(url = bench.url, checkMs?: number) {
      const errors: Error[] = [];
      const made = begin(url, errors, checkMs);
      let gaps = 0;
      made.onGap(() => void gaps++);
      await until(() => gaps > 0, 'the connection');
      return Object.assign(made, { errors, gaps: () => gaps });
    }
    function begin(url: string, errors: Error[], checkMs?: number): PubSub {
      const made = bench.create({ url, onError: (error) => errors.push(error), ...(checkMs ? { checkMs } : {}) });
      open.push(made);
      return made;
    }
    function heardOn(pubsub: PubSub, topic: string): string[] {
      const heard: string[] = [];
      pubsub.subscribe(topic, (message) => heard.push(message));
      return heard;
    }

    fact('a hint reaches the listeners of its topic in every other process, in order', async () => {
      const [from, to, third] = [await process(), await process(), await process()];
      const heard = [heardOn(to, 'topic'), heardOn(third, 'topic')];
      const other = heardOn(to, 'other topic');
      const sent = Array.from({ length: 2_000 }, (_, i) => String(i));
      for (const message of sent) from.publish('topic', message);
      await until(() => heard.every((messages) => messages.length >= sent.length));
      expect(heard).toEqual([sent, sent]);
      expect(other).toEqual([]);
    });

    fact('one’s own listeners hear at once, and not a second time from the others’ way', async () => {
      const [from, to] = [await process(), await process()];
      const [own, others] = [heardOn(from, 'topic'), heardOn(to, 'topic')];
      from.publish('topic', '1');
      expect(own).toEqual(['1']);
      await until(() => others.length === 1);
      to.publish('topic', '2'); // it comes after the first one, which by now has been everywhere
      await until(() => own.length > 1);
      expect(own).toEqual(['1', '2']);
    });

    fact('who has left hears nothing more', async () => {
      const [from, to] = [await process(), await process()];
      const left: string[] = [];
      to.subscribe('topic', (message) => left.push(message))();
      const heard = heardOn(to, 'topic');
      from.publish('topic', '1');
      await until(() => heard.length === 1);
      expect(left).toEqual([]);
    });

    fact('a lost connection is told once and comes back: a gap, and then hints as before', async () => {
      const [from, to] = [await process(), await process()];
      const heard = heardOn(to, 'topic');
      const before = to.gaps();
      await bench.interrupt();
      await until(() => from.errors.length > 0 && to.errors.length > 0, 'the loss');
      from.publish('topic', '1');
      await bench.restore();
      await until(() => to.gaps() > before, 'the gap');
      // What was under way while the listener was away is gone: that is what the gap says. New hints arrive.
      await until(() => {
        from.publish('topic', '2');
        return heard.includes('2');
      });
      expect([from, to].map(({ errors }) => errors.length)).toEqual([1, 1]);
    });

    fact('publishing without a connection neither throws nor waits; close does not hang', async () => {
      const errors: Error[] = [];
      const url = new URL(bench.url);
      url.port = String(await freePort());
      const away = begin(url.href, errors);
      const heard = heardOn(away, 'topic');
      const startedAt = performance.now();
      for (let i = 0; i < 20_000; i++) away.publish('topic', '');
      expect(performance.now() - startedAt).toBeLessThan(2_000);
      expect(heard).toHaveLength(20_000);
      await until(() => errors.length > 0, 'a word about it');
      const closedAt = performance.now();
      await away.close();
      expect(performance.now() - closedAt).toBeLessThan(3_000);
    });

    fact('an end that is not there at the start is said without the password, and used when it comes', async () => {
      const target = new URL(bench.url);
      const errors: Error[] = [];
      const behind = await startTcpProxy({ host: '127.0.0.1', port: Number(target.port) });
      const url = new URL(bench.url);
      url.port = String(behind.port);
      await behind.close();
      const early = begin(url.href, errors);
      early.publish('topic', 'waits');
      await until(() => errors.length > 0, 'a word about it');
      expect(errors).toHaveLength(1);
      expect(JSON.stringify([errors[0]!.message, errors[0]])).not.toContain(target.password);
      const heard = heardOn(await process(), 'topic');
      const again = await startTcpProxy({ host: '127.0.0.1', port: Number(target.port) }, behind.port);
      await until(() => heard.includes('waits'));
      await again.close();
    });

    fact('a connection over which nothing comes any more is given up for a new one', async () => {
      const target = new URL(bench.url);
      const proxy = await startTcpProxy({ host: '127.0.0.1', port: Number(target.port) });
      const url = new URL(bench.url);
      url.port = String(proxy.port);
      const [from, to] = [await process(), await process(url.href, 300)];
      const heard = heardOn(to, 'topic');
      const before = to.gaps();
      proxy.freeze();
      await until(() => to.gaps() > before, 'a new connection');
      from.publish('topic', '1');
      await until(() => heard.length === 1);
      await to.close();
      await proxy.close();
    });

    fact('a process that ends at once has still sent its hints', async () => {
      const [from, to] = [await process(), await process()];
      const heard = heardOn(to, 'topic');
      for (let i = 0; i < 500; i++) from.publish('topic', String(i)); // equal ones PostgreSQL may tell once
      await from.close();
      await until(() => heard.length === 500);
    });

    fact('what somebody else says on the channel is passed over', async () => {
      const [from, to] = [await process(), await process()];
      const heard = heardOn(to, 'topic');
      for (const payload of ['no JSON', '{}', 'null', '7', '["someone"]', '[1,2,3]']) await bench.say(payload);
      from.publish('topic', '1');
      await until(() => heard.length === 1);
    });
  });
}

(withoutRedis === undefined ? test : test.skip)('a password that Redis refuses is not told', async () => {
  const server = await testRedis();
  await server.start();
  const url = server.url.replace(server.password, 'wrong-but-secret');
  const errors: Error[] = [];
  const pubsub = createRedisPubSub({ url, onError: (error) => errors.push(error) });
  await until(() => errors.length > 0);
  expect(errors[0]!.message).toMatch(/^Redis at 127\.0\.0\.1:\d+: /);
  expect(JSON.stringify([errors, errors.map((error) => [error.message, error.stack, { ...error }])])).not.toContain(
    'wrong-but-secret',
  );
  await pubsub.close();
  await server.kill();
});
