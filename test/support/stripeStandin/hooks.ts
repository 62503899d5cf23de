import { createHmac } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Wire } from './wire.js';

/** How events are sent: as the network and Stripe's retries may have it. */
export interface HookPolicy {
  /** How often each is sent again without need. */
  duplicates: number;
  shuffle: boolean;
  /** Each waits up to this long. */
  delayMs: number;
  /** Share that is never sent, 0 to 1. */
  dropped: number;
  /** Held back until the policy changes. */
  paused: boolean;
  random: () => number;
}

interface Sending {
  event: Wire;
  attempt: number;
  at: number;
}

const retries = 5;
/** Deliveries under way at a time. */
const atOnce = 4;

/** Sends events to one endpoint, signed, and again until it answers 2xx. */
export class Hooks {
  readonly policy: HookPolicy = {
    duplicates: 0,
    shuffle: false,
    delayMs: 0,
    dropped: 0,
    paused: false,
    random: Math.random,
  };
  target: { url: string; secret: string } | undefined;
  /** Status of each delivery, in order; 0 when there was no answer. */
  readonly answers: number[] = [];
  readonly #queue: Sending[] = [];
  #pumping: Promise<void> | undefined;

  send(event: Wire): void {
    if (!this.target) return;
    const { random, duplicates, delayMs, dropped } = this.policy;
    for (let i = 0; i <= duplicates; i++) {
      if (random() >= dropped) this.#queue.push({ event, attempt: 1, at: Date.now() + random() * delayMs });
    }
    this.#pumping ??= this.#pump();
  }

  set(policy: Partial<HookPolicy>): void {
    Object.assign(this.policy, policy);
    this.#pumping ??= this.#pump();
  }

  /** Settles when nothing more is to be sent. */
  async drained(): Promise<void> {
    while (this.#pumping) await this.#pumping;
  }

  async #pump(): Promise<void> {
    await sleep(0);
    while (this.#queue.length > 0 && this.target && !this.policy.paused) {
      await Promise.all(Array.from({ length: Math.min(atOnce, this.#queue.length) }, () => this.#deliver()));
    }
    this.#pumping = undefined;
  }

  async #deliver(): Promise<void> {
    const i = this.policy.shuffle ? Math.floor(this.policy.random() * this.#queue.length) : 0;
    const [next] = this.#queue.splice(i, 1);
    await sleep(Math.max(0, Math.min(next!.at - Date.now(), 50)));
    const status = await this.post(next!.event);
    this.answers.push(status);
    const isTaken = status >= 200 && status < 300;
    if (!isTaken && next!.attempt <= retries) {
      this.#queue.push({ ...next!, attempt: next!.attempt + 1, at: Date.now() + 20 * 2 ** next!.attempt });
    }
  }

  async post(event: Wire, { secret = this.target!.secret, at = Date.now() } = {}): Promise<number> {
    const body = JSON.stringify(event);
    const second = Math.floor(at / 1000);
    const signature = createHmac('sha256', secret).update(`${second}.${body}`).digest('hex');
    try {
      const response = await fetch(this.target!.url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'stripe-signature': `t=${second},v1=${signature}` },
        body,
      });
      await response.body?.cancel();
      return response.status;
    } catch {
      return 0;
    }
  }
}
