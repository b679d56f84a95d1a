/** Who hears what happens to the devices of a group. */

import { AssertionError, Concurrency, IommuError } from '@viommu/common';
import type { Device } from './device.ts';
import type { CoreLog } from './log.ts';

/** What happens to a device. The last four are its bus's driver events. */
export const GroupEvent = {
  ADD_DEVICE: 1,
  /** It is about to go, and still a member. */
  DEL_DEVICE: 2,
  BIND_DRIVER: 3,
  BOUND_DRIVER: 4,
  UNBIND_DRIVER: 5,
  UNBOUND_DRIVER: 6,
} as const;

export type GroupEvent = (typeof GroupEvent)[keyof typeof GroupEvent];

/** The events that a bus has to tell. */
export type DriverEvent = Exclude<GroupEvent, 1 | 2>;

/**
 * Is told of each event once. It may look at the group, attach and detach it, but neither add nor remove devices
 * (`EDEADLK`). What it throws is logged.
 */
export type GroupListener = (event: GroupEvent, device: Device) => void;

/** One event on its way to the listeners. */
interface Announcement {
  readonly event: GroupEvent;
  readonly device: Device;
  readonly heard: Set<GroupListener>;
}

/** The listeners of one group. Its membership lock is held around every call. */
export class GroupListeners {
  readonly #log: CoreLog;
  readonly #listeners: Set<GroupListener> = new Set();
  /**
   * Announcements that are not over. A context that has to wait for a lock starts again from the beginning; who has
   * heard of the event by then does not hear of it twice.
   */
  readonly #open: Announcement[] = [];

  constructor(log: CoreLog) {
    this.#log = log;
  }

  /** @throws {IommuError} `EEXIST` */
  add(listener: GroupListener): void {
    if (this.#listeners.has(listener))
      throw new IommuError('EEXIST', 'The group has this listener already.');
    this.#listeners.add(listener);
  }

  /** @throws {IommuError} `ENOENT` */
  remove(listener: GroupListener): void {
    if (!this.#listeners.delete(listener))
      throw new IommuError('ENOENT', 'The group does not have this listener.');
  }

  /** Tells everybody who has not heard of it yet. {@link close} has to follow, once the event cannot come again. */
  announce(event: GroupEvent, device: Device): void {
    let announcement = this.#find(event, device);
    if (announcement === undefined)
      this.#open.push((announcement = { event, device, heard: new Set() }));
    for (const listener of this.#listeners) {
      if (announcement.heard.has(listener)) continue;
      try {
        listener(event, device);
      } catch (error) {
        if (Concurrency.unwinds(error) || error instanceof AssertionError) throw error;
        this.#log.warn(
          'listenerFailed',
          `a listener failed about ${device.name}: ${String(error)}`,
        );
      }
      announcement.heard.add(listener);
    }
  }

  /** The event is over and done. */
  close(event: GroupEvent, device: Device): void {
    const announcement = this.#find(event, device);
    if (announcement !== undefined) this.#open.splice(this.#open.indexOf(announcement), 1);
  }

  #find(event: GroupEvent, device: Device): Announcement | undefined {
    return this.#open.find((one) => one.event === event && one.device === device);
  }
}
