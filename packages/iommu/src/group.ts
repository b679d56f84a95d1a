/**
 * Groups: the smallest sets of devices that an IOMMU can tell apart. All devices of a group share one domain.
 *
 * A group lives as long as somebody has a reference: each member, its maker, and everybody who asked for it. What is in
 * it is the core's business; others use the functions of `GroupRegistry` and `group-attach.ts`.
 */

import { type Concurrency, type Lock, LockRank } from '@viommu/common';
import type { Device } from './device.ts';
import type { Domain } from './domain.ts';
import type { Directory } from './group-directory.ts';
import { GroupListeners } from './group-listener.ts';
import type { CoreLog } from './log.ts';

/** What groups need of the guest they are in. */
export interface GroupHost {
  readonly concurrency: Concurrency;
  readonly log: CoreLog;
  readonly directory: Directory;
}

/** Where the groups are in the directory view. */
export const GROUPS_PATH = '/sys/kernel/iommu_groups';

/** One group. */
export class Group {
  /** From 0; unique over all IOMMUs, and free again when the group is gone. */
  readonly id: number;
  /** Where it is in the directory view. */
  readonly path: string;
  readonly host: GroupHost;
  /** Held around every change of the members together with what listeners hear of it. */
  readonly membershipLock: Lock;
  /** Held around the members, the domains and the owner. */
  readonly mutex: Lock;
  readonly listeners: GroupListeners;
  /** The members in the order in which they came, and what each one's link in the `devices` directory is called. */
  readonly devices: Map<Device, string> = new Map();
  /** 0: it is gone. */
  references = 1;
  name: string | undefined = undefined;
  /** Whatever the IOMMU driver keeps here, and what ends it. */
  data: unknown = undefined;
  releaseData: ((data: unknown) => void) | undefined = undefined;
  /** The domain that all its devices are in; `undefined` before the first set-up. */
  domain: Domain | undefined = undefined;
  /** What drivers use without asking. */
  defaultDomain: Domain | undefined = undefined;
  /** Why there is no default domain and never will be, for whoever wants to bind a driver. */
  defaultRefused: string | undefined = undefined;
  /** Where no address leads anywhere; made when it is first needed. */
  blockingDomain: Domain | undefined = undefined;
  /** Bound drivers that use the default domain; 1 if there is an {@link owner}. */
  ownerCount = 0;
  /** Who has the group for itself. */
  owner: object | undefined = undefined;

  /** Use `GroupRegistry.allocate`. */
  constructor(id: number, host: GroupHost) {
    this.id = id;
    this.path = `${GROUPS_PATH}/${id}`;
    this.host = host;
    this.membershipLock = host.concurrency.lock(`membership of group ${id}`, LockRank.membership);
    this.mutex = host.concurrency.lock(`group ${id}`, LockRank.group);
    this.listeners = new GroupListeners(host.log);
  }
}
