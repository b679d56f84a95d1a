/**
 * How register writes cross from the guest's thread to the host's: one at a time, and the guest goes on only when the
 * device has acted, as it would after a trap.
 */

import { IommuError } from '@viommu/common';
import { Bell, Waiter, type Waitable } from '@viommu/ring';
import { ControlBlock, type ControlPage } from './control-page.ts';
import type { RegisterDevice, RegisterPort } from './register-device.ts';
import type { RegisterWindow } from './register-window.ts';

const POSTED = ControlBlock.offset.posted / 4;
const ACKNOWLEDGED = ControlBlock.offset.acknowledged / 4;
const REGISTER = ControlBlock.offset.register / 4;
const VALUE = ControlBlock.offset.value / 4;

/**
 * How often a sleep may end too early. Once is normal: the host's thread may be held up between an acknowledgement that
 * we saw by polling and the wake-up that follows it.
 */
const WAKES_MAX = 16;

export interface MailboxPortOptions {
  readonly control: ControlPage;
  /** The device's number in the control page. */
  readonly block: number;
  readonly window: RegisterWindow;
  /** How long a write may take; 5 seconds if not given. */
  readonly timeoutMs?: number;
}

/** The guest's end. One thread writes through it. */
export class MailboxPort implements RegisterPort, Waitable {
  readonly #window: RegisterWindow;
  readonly #words: Int32Array;
  readonly #hostBell: Bell;
  /** Over the word of acknowledgements. */
  readonly #bell: Bell;
  readonly #waiter: Waiter;
  readonly #timeoutMs: number;
  #posted: number;
  /** What was written last. */
  #register = -1;
  #value = 0;

  constructor({ control, block, window, timeoutMs = 5000 }: MailboxPortOptions) {
    this.#window = window;
    this.#words = control.block(block);
    this.#hostBell = control.hostBell;
    this.#bell = new Bell(this.#words, ACKNOWLEDGED);
    this.#waiter = new Waiter({ bell: this.#bell });
    this.#timeoutMs = timeoutMs;
    this.#posted = Atomics.load(this.#words, POSTED);
  }

  read(offset: number, width: number): number {
    return this.#window.read(offset, width);
  }

  write(offset: number, width: number, value: number): void {
    this.#begin(offset, width, value);
    this.#hostBell.ring();
    this.#finish();
  }

  post(offset: number, width: number, value: number): void {
    // What the device has not acted on yet has the same effect, only later.
    const register = offset | (width << 16);
    if (!this.ready() && this.#register === register && this.#value === value) return;
    this.#begin(offset, width, value);
    // A host that is awake finds it; one that sleeps has it when it wakes.
    this.#hostBell.bump();
  }

  /** True if the device has acted on the last write. */
  ready(): boolean {
    // Pairs with the store in `HostMailbox.serve`: what the device did is visible after this.
    return Atomics.load(this.#words, ACKNOWLEDGED) === this.#posted;
  }

  /** The host always wakes us. */
  armNotification(): boolean {
    return !this.ready();
  }

  suppressNotification(): void {}

  #begin(offset: number, width: number, value: number): void {
    if (offset < 0 || offset > 0xffff)
      throw new IommuError('EINVAL', `A register window has no offset ${offset}.`);
    // A write that was posted, or that ran out of time, is still the device's.
    if (!this.ready()) {
      this.#hostBell.ring();
      this.#finish();
    }
    this.#register = offset | (width << 16);
    this.#value = value;
    this.#words[REGISTER] = this.#register;
    this.#words[VALUE] = value;
    this.#posted = (this.#posted + 1) | 0;
    // Pairs with the load in `HostMailbox.serve`: register and value are visible after that.
    Atomics.store(this.#words, POSTED, this.#posted);
  }

  #finish(): void {
    if (this.ready() || this.#waiter.poll(this)) return;
    for (let wakes = 0; wakes < WAKES_MAX; wakes += 1) {
      const seen = this.#bell.value();
      if (this.ready()) return;
      if (!this.#bell.wait(seen, this.#timeoutMs)) break;
    }
    if (this.ready()) return;
    throw new IommuError(
      'ETIMEDOUT',
      `The device did not answer a register write within ${this.#timeoutMs} ms.`,
    );
  }
}

/** The host's end. Whatever the guest puts into the mailbox, a call does one register write at most. */
export class HostMailbox {
  readonly #words: Int32Array;
  #acknowledged: number;

  constructor(control: ControlPage, block: number) {
    this.#words = control.block(block);
    this.#acknowledged = Atomics.load(this.#words, ACKNOWLEDGED);
  }

  /** Passes a posted write on to `device` and acknowledges it. False if there was none; one load. */
  serve(device: RegisterDevice): boolean {
    // Pairs with the store in `MailboxPort.write`.
    const posted = Atomics.load(this.#words, POSTED);
    if (posted === this.#acknowledged) return false;
    const register = Atomics.load(this.#words, REGISTER);
    device.write(register & 0xffff, register >>> 16, Atomics.load(this.#words, VALUE) >>> 0);
    this.#acknowledged = posted;
    // Pairs with the load in `MailboxPort.ready`.
    Atomics.store(this.#words, ACKNOWLEDGED, posted);
    Atomics.notify(this.#words, ACKNOWLEDGED);
    return true;
  }
}
