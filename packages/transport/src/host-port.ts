/** What the host's thread does all day: register writes, queues, sleep. */

import { type Bell, Waiter } from '@viommu/ring';
import type { ControlPage } from './control-page.ts';
import { HostMailbox } from './mailbox.ts';
import type { RegisterDevice } from './register-device.ts';

export interface HostPortOptions {
  readonly control: ControlPage;
  /** The devices, by their block in the control page. */
  readonly devices: readonly RegisterDevice[];
  /** The largest number of looks before a sleep, as in `Waiter`. */
  readonly pollsMax?: number;
}

/** Serves a list of devices: `while (!port.stopped) port.wait(1000)`. */
export class HostPort {
  readonly #control: ControlPage;
  readonly #bell: Bell;
  readonly #devices: readonly RegisterDevice[];
  readonly #mailboxes: readonly HostMailbox[];
  readonly #waiter: Waiter;
  /** The bell's value when the mailboxes were looked at last; who posts a write rings it afterwards. */
  #seen: number;

  /** @throws {IommuError} `EINVAL` for more devices than the control page has blocks. */
  constructor({ control, devices, pollsMax }: HostPortOptions) {
    this.#control = control;
    this.#devices = devices;
    this.#mailboxes = devices.map((_, index) => new HostMailbox(control, index));
    const bell = control.hostBell;
    this.#bell = bell;
    this.#waiter = new Waiter(pollsMax === undefined ? { bell } : { bell, pollsMax });
    // Not the current value: look once at what was posted before.
    this.#seen = bell.value() - 1;
  }

  /** True once the host is asked to end. */
  get stopped(): boolean {
    return this.#control.stopped;
  }

  /** Does all work that is there now. False if there was none. */
  serve(): boolean {
    let worked = false;
    const rung = this.#bell.value();
    if (rung !== this.#seen) {
      this.#seen = rung;
      worked = this.#serveMailboxes();
    }
    for (const device of this.#devices) worked = device.serve() || worked;
    return worked;
  }

  /** Before a sleep: asks for notifications. False if there is work, or somebody rang, meanwhile. */
  arm(): boolean {
    // Who asks the host to end rings too, and that ring may have been seen already.
    let asleep = !this.stopped && this.#bell.value() === this.#seen;
    for (const device of this.#devices) asleep = device.arm() && asleep;
    return asleep;
  }

  /** While awake: notifications are not needed. */
  suppress(): void {
    for (const device of this.#devices) device.suppress();
  }

  /**
   * Waits for work, for at most `timeoutMs` once polling has failed, and does it. False if there was none; that may
   * come early.
   */
  wait(timeoutMs: number): boolean {
    return this.#waiter.wait(this, timeoutMs);
  }

  /** What `Waiter` calls: to look is to serve. */
  ready(): boolean {
    return this.serve();
  }

  armNotification(): boolean {
    return this.arm();
  }

  suppressNotification(): void {
    this.suppress();
  }

  #serveMailboxes(): boolean {
    let worked = false;
    // By index: this runs with every bell, and iterating over entries would allocate.
    for (let index = 0; index < this.#devices.length; index += 1) {
      const device = this.#devices[index]!; // Below the length.
      if (!this.#mailboxes[index]!.serve(device)) continue; // One was made for each.
      worked = true;
      // The write may have brought queues, and we are awake.
      device.suppress();
    }
    return worked;
  }
}
