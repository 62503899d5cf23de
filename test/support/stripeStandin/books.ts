import { cardOfToken, declineText, minimums, type StandinCard } from './cards.js';
import { invalid, isTrue, missing, newRef, required, StripeFault, type Wire } from './wire.js';

/** What a card is and has been through; kept beside the payment method, as Stripe doesn't tell it. */
interface CardState {
  card: StandinCard;
  isSetUp: boolean;
  isDetached: boolean;
}

/** What Stripe knows, and what happens to it. Throws `StripeFault` for what Stripe refuses. */
export class Books {
  readonly customers = new Map<string, Wire>();
  readonly methods = new Map<string, Wire>();
  readonly setups = new Map<string, Wire>();
  readonly intents = new Map<string, Wire>();
  readonly charges = new Map<string, Wire>();
  readonly refunds = new Map<string, Wire>();
  readonly disputes = new Map<string, Wire>();
  readonly events: Wire[] = [];
  readonly #cards = new Map<string, CardState>();

  constructor(
    private readonly second: () => number,
    private readonly tell: (event: Wire) => void,
  ) {}

  emit(type: string, object: Wire, before?: Wire): void {
    const event = {
      id: newRef('evt'),
      object: 'event',
      created: this.second(),
      type,
      livemode: false,
      data: { object: structuredClone(object), ...(before ? { previous_attributes: before } : {}) },
    };
    this.events.push(event);
    this.tell(event);
  }

  find(table: ReadonlyMap<string, Wire>, kind: string, id: string, param?: string): Wire {
    const found = table.get(id);
    if (!found) throw missing(kind, id, param);
    return found;
  }

  createCustomer(body: Wire): Wire {
    const customer = {
      id: newRef('cus'),
      object: 'customer',
      created: this.second(),
      name: body.name ?? null,
      metadata: body.metadata ?? {},
    };
    this.customers.set(customer.id, customer);
    this.emit('customer.created', customer);
    return customer;
  }

  createMethod(body: Wire): Wire {
    const token = body.card?.token;
    if (!token) throw required('card');
    const card = cardOfToken(token);
    if (!card) throw missing('token', token, 'card[token]');
    return this.#newMethod(card, body.metadata);
  }

  #newMethod(card: StandinCard, metadata: Wire = {}): Wire {
    const method = {
      id: newRef('pm'),
      object: 'payment_method',
      type: 'card',
      card: { brand: card.brand, last4: card.last4, exp_month: 12, exp_year: 2034 },
      customer: null,
      metadata,
      created: this.second(),
    };
    this.methods.set(method.id, method);
    this.#cards.set(method.id, { card, isSetUp: false, isDetached: false });
    return method;
  }

  /** A magic `pm_card_…` is made into a payment method of its own each time it is used. */
  #methodFor(id: string, customerRef: string | undefined): Wire {
    const magic = this.methods.has(id) ? undefined : cardOfToken(id);
    const method = magic ? this.#newMethod(magic) : this.find(this.methods, 'PaymentMethod', id, 'payment_method');
    if (this.#cards.get(method.id)!.isDetached) {
      throw invalid('This PaymentMethod was detached from a Customer, and may not be used again.', {
        param: 'payment_method',
      });
    }
    if (method.customer && method.customer !== customerRef) {
      throw invalid(`The PaymentMethod ${id} does not belong to the Customer you supplied.`, {
        param: 'payment_method',
      });
    }
    return method;
  }

  detach(id: string): Wire {
    const method = this.find(this.methods, 'PaymentMethod', id, 'payment_method');
    if (!method.customer) {
      throw invalid('The payment method is not attached to a customer so detachment is impossible.', {
        code: 'payment_method_unexpected_state',
      });
    }
    const before = { customer: method.customer };
    method.customer = null;
    this.#cards.get(id)!.isDetached = true;
    this.emit('payment_method.detached', method, before);
    return method;
  }

  /** The issuer sends a new card for one that has run out. */
  renewCard(id: string, card: { exp_year: number; last4: string }): void {
    const method = this.find(this.methods, 'PaymentMethod', id);
    Object.assign(method.card, card);
    this.emit('payment_method.automatically_updated', method);
  }

  createSetup(body: Wire): Wire {
    const customer = this.find(this.customers, 'customer', body.customer, 'customer');
    const method = this.#methodFor(body.payment_method, customer.id);
    const id = newRef('seti');
    const setup: Wire = {
      id,
      object: 'setup_intent',
      created: this.second(),
      client_secret: `${id}_secret_${newRef('s').slice(2)}`,
      customer: customer.id,
      payment_method: method.id,
      metadata: body.metadata ?? {},
      usage: body.usage ?? 'off_session',
      status: 'requires_confirmation',
      last_setup_error: null,
    };
    this.setups.set(id, setup);
    this.emit('setup_intent.created', setup);
    const { card } = this.#cards.get(method.id)!;
    if (card.attach) {
      const error = cardError(card.attach);
      Object.assign(setup, { status: 'requires_payment_method', payment_method: null, last_setup_error: error });
      this.emit('setup_intent.setup_failed', setup);
      throw new StripeFault(402, { ...error, setup_intent: structuredClone(setup) });
    }
    if (!card.holder) return this.#finishSetup(setup);
    setup.status = 'requires_action';
    this.emit('setup_intent.requires_action', setup);
    return setup;
  }

  #finishSetup(setup: Wire): Wire {
    const method = this.methods.get(setup.payment_method)!;
    this.#cards.get(method.id)!.isSetUp = true;
    setup.status = 'succeeded';
    method.customer = setup.customer;
    this.emit('payment_method.attached', method);
    this.emit('setup_intent.succeeded', setup);
    return setup;
  }

  createIntent(body: Wire): Wire {
    const amount = amountOf(body.amount);
    const currency = String(body.currency ?? '');
    if (!/^[a-z]{3}$/.test(currency)) throw invalid(`Invalid currency: ${currency}.`, { param: 'currency' });
    if (amount < (minimums[currency] ?? 50)) {
      throw invalid(`Amount must be at least ${minimums[currency] ?? 50} ${currency}`, {
        code: 'amount_too_small',
        param: 'amount',
      });
    }
    if (['kwd', 'bhd', 'jod', 'omr', 'tnd'].includes(currency) && amount % 10 !== 0) {
      throw invalid('The last digit of the amount must be 0', { code: 'invalid_charge_amount', param: 'amount' });
    }
    if (body.customer) this.find(this.customers, 'customer', body.customer, 'customer');
    const method = this.#methodFor(body.payment_method, body.customer);
    const id = newRef('pi');
    const intent: Wire = {
      id,
      object: 'payment_intent',
      created: this.second(),
      amount,
      currency,
      customer: body.customer ?? null,
      payment_method: method.id,
      description: body.description ?? null,
      metadata: body.metadata ?? {},
      client_secret: `${id}_secret_${newRef('s').slice(2)}`,
      status: 'requires_confirmation',
      last_payment_error: null,
      latest_charge: null,
    };
    this.intents.set(id, intent);
    this.emit('payment_intent.created', intent);
    return isTrue(body.confirm) ? this.#confirm(intent, isTrue(body.off_session)) : intent;
  }

  #confirm(intent: Wire, isOffSession: boolean): Wire {
    const { card, isSetUp } = this.#cards.get(intent.payment_method)!;
    if (card.holder === 'always' || (card.holder === 'unless_set_up' && !isSetUp)) {
      if (isOffSession) this.#fail(intent, ['authentication_required', 'authentication_required']);
      intent.status = 'requires_action';
      this.emit('payment_intent.requires_action', intent);
      return intent;
    }
    if (card.charge) this.#fail(intent, card.charge);
    return this.#collect(intent, intent.payment_method);
  }

  #fail(intent: Wire, reason: readonly [string, string?]): never {
    const error = { ...cardError(reason), payment_method: this.methods.get(intent.payment_method) };
    Object.assign(intent, { status: 'requires_payment_method', payment_method: null, last_payment_error: error });
    this.emit('payment_intent.payment_failed', intent);
    throw new StripeFault(402, { ...error, payment_intent: structuredClone(intent) });
  }

  #collect(intent: Wire, methodRef: string): Wire {
    const charge = {
      id: newRef('ch'),
      object: 'charge',
      created: this.second(),
      amount: intent.amount,
      amount_refunded: 0,
      currency: intent.currency,
      customer: intent.customer,
      payment_intent: intent.id,
      payment_method: methodRef,
      metadata: { ...intent.metadata },
      status: 'succeeded',
      disputed: false,
    };
    this.charges.set(charge.id, charge);
    Object.assign(intent, {
      status: 'succeeded',
      payment_method: methodRef,
      latest_charge: charge.id,
      last_payment_error: null,
    });
    this.emit('charge.succeeded', charge);
    this.emit('payment_intent.succeeded', intent);
    return intent;
  }

  /** The holder answers a challenge, of a payment or of a set-up. */
  authenticate(ref: string, success: boolean): void {
    const setup = this.setups.get(ref);
    if (setup) {
      if (success) {
        this.#finishSetup(setup);
        return;
      }
      const error = cardError(['setup_intent_authentication_failure']);
      Object.assign(setup, { status: 'requires_payment_method', payment_method: null, last_setup_error: error });
      this.emit('setup_intent.setup_failed', setup);
      return;
    }
    const intent = this.find(this.intents, 'payment_intent', ref);
    if (intent.status === 'succeeded') return;
    const methodRef = intent.payment_method ?? intent.last_payment_error.payment_method.id;
    if (success) {
      this.#collect(intent, methodRef);
      return;
    }
    Object.assign(intent, {
      status: 'requires_payment_method',
      payment_method: null,
      last_payment_error: cardError(['payment_intent_authentication_failure']),
    });
    this.emit('payment_intent.payment_failed', intent);
  }

  cancelIntent(id: string): Wire {
    const intent = this.find(this.intents, 'payment_intent', id, 'intent');
    if (intent.status === 'succeeded' || intent.status === 'canceled') {
      throw invalid(`You cannot cancel this PaymentIntent because it has a status of ${intent.status}.`, {
        code: 'payment_intent_unexpected_state',
      });
    }
    intent.status = 'canceled';
    this.emit('payment_intent.canceled', intent);
    return intent;
  }

  createRefund(body: Wire): Wire {
    const intent = this.find(this.intents, 'payment_intent', body.payment_intent, 'payment_intent');
    const charge = this.charges.get(intent.latest_charge);
    if (!charge) throw invalid('This PaymentIntent does not have a successful charge to refund.');
    const left = charge.amount - charge.amount_refunded;
    if (left <= 0) {
      throw invalid(`Charge ${charge.id} has already been refunded.`, { code: 'charge_already_refunded' });
    }
    const amount = body.amount === undefined ? left : amountOf(body.amount);
    if (amount > left) {
      throw invalid(`Refund amount (${amount}) is greater than unrefunded amount on charge (${left})`, {
        param: 'amount',
      });
    }
    const refund = {
      id: newRef('re'),
      object: 'refund',
      created: this.second(),
      amount,
      currency: charge.currency,
      charge: charge.id,
      payment_intent: intent.id,
      metadata: body.metadata ?? {},
      status: 'succeeded',
    };
    this.refunds.set(refund.id, refund);
    charge.amount_refunded += amount;
    this.emit('refund.created', refund);
    this.emit('charge.refunded', charge);
    return refund;
  }

  /** The bank sends a refund back: Stripe tells it days later. */
  failRefund(id: string): void {
    const refund = this.find(this.refunds, 'refund', id);
    Object.assign(refund, { status: 'failed', failure_reason: 'expired_or_canceled_card' });
    this.charges.get(refund.charge)!.amount_refunded -= refund.amount;
    this.emit('refund.failed', refund);
  }

  openDispute(intentRef: string): Wire {
    const charge = this.charges.get(this.find(this.intents, 'payment_intent', intentRef).latest_charge)!;
    charge.disputed = true;
    const dispute = {
      id: newRef('dp'),
      object: 'dispute',
      created: this.second(),
      amount: charge.amount,
      currency: charge.currency,
      charge: charge.id,
      payment_intent: intentRef,
      reason: 'fraudulent',
      status: 'needs_response',
      metadata: {},
    };
    this.disputes.set(dispute.id, dispute);
    this.emit('charge.dispute.created', dispute);
    return dispute;
  }

  closeDispute(id: string, status: 'won' | 'lost'): void {
    const dispute = this.find(this.disputes, 'dispute', id);
    dispute.status = status;
    this.emit('charge.dispute.closed', dispute);
  }

  /** The truth about money: what was taken and given back, and payments that were charged more than once. */
  ledger(accountId?: string): { charges: number; amountMinor: bigint; duplicates: string[] } {
    const all = [...this.charges.values()];
    const charges = all.filter((charge) => accountId === undefined || charge.metadata.account_id === accountId);
    const kept = charges.map((charge) => charge.amount - charge.amount_refunded);
    const byPayment = Map.groupBy(charges, (charge) => charge.metadata.payment_id ?? charge.payment_intent);
    return {
      charges: charges.length,
      amountMinor: BigInt(kept.reduce((sum, amount) => sum + amount, 0)),
      duplicates: [...byPayment].filter(([, of]) => of.length > 1).map(([paymentId]) => paymentId),
    };
  }
}

const cardError = (reason: readonly [string, string?]): Wire => ({
  type: 'card_error',
  code: reason[0],
  ...(reason[1] ? { decline_code: reason[1] } : {}),
  message: declineText(reason),
});

function amountOf(value: unknown): number {
  if (value === undefined) throw required('amount');
  const amount = Number(value);
  if (!/^\d+$/.test(String(value)) || amount < 1) {
    throw invalid(`Invalid integer: ${value}`, { code: 'parameter_invalid_integer', param: 'amount' });
  }
  if (amount > 99_999_999) {
    throw invalid('Amount must be no more than 99999999', { code: 'amount_too_large', param: 'amount' });
  }
  return amount;
}
