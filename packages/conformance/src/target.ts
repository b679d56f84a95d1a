/**
 * What the suite asks of a device under test: {@link DeviceTarget}. This is all that somebody writes to have a
 * virtio-iommu judged; `examples/conformance-target` is a template.
 *
 * Methods are synchronous and block: a case is then a straight line that cannot forget to wait, a device in the same
 * thread needs no event loop, and one in another thread or process is waited for with `Atomics.wait` or a blocking read.
 * Only opening may take its time.
 */

import type { GuestMemory, QueueLayout } from '@viommu/ring';
import type { Manifest } from './manifest.ts';
import type { Choices } from './model/choice.ts';
import type { Mapping } from './model/mapping-set.ts';

/**
 * `device` writes 0 to the status register; `system` resets the machine around the device, which also brings `bypass`
 * back; `process` starts the whole peer anew.
 */
export type ResetKind = 'device' | 'system' | 'process';

/** Which way an endpoint's access goes. */
export type DmaDirection = 'read' | 'write';

/** What became of an access, as far as the endpoint can tell. The suite judges by memory, and takes this as a hint. */
export type DmaOutcome = 'done' | 'refused' | 'unknown';

/** A region the platform keeps from translation; both ends are included. */
export interface TargetRegion {
  readonly start: bigint;
  readonly last: bigint;
  readonly type: 'reserved' | 'msi';
}

/** An endpoint number, and what the platform knows about it. */
export interface TargetEndpoint {
  /** The number by which requests name it, 0..2^32 - 1. */
  readonly id: number;
  /**
   * `present`: the device manages it. `absent`: it certainly does not. `alias`: requests naming it mean another one,
   * and the suite leaves it alone.
   */
  readonly role: 'present' | 'absent' | 'alias';
  /** Its regions, as the platform was told; the suite compares them with what PROBE says. Unknown if absent. */
  readonly reserved?: readonly TargetRegion[];
  /** What its accesses can be; an endpoint without this makes none. */
  readonly dma?: {
    /** The last address it can put on the bus; default 2^64 - 1. */
    readonly last?: bigint;
    /** Addresses and lengths are multiples of this many bytes; default 1. */
    readonly align?: number;
    /** The longest access; default 4096. */
    readonly bytesMax?: number;
    /** Accesses across multiples of this many bytes are several to the device: the fuzzer makes none. */
    readonly boundary?: number;
  };
}

/** The registers of virtio-mmio, for the clauses about them. */
export interface TargetRegisters {
  /** `offset` counts from the start of the window, `width` is 1, 2 or 4 bytes. */
  read(offset: number, width: number): number;
  write(offset: number, width: number, value: number): void;
}

/** Notifications from the device since they were last asked for. */
export interface TargetInterrupts {
  /** For used buffers. */
  readonly used: number;
  /** For a change of the configuration. */
  readonly config: number;
}

/** The state of a device, as it keeps it. */
export interface TargetBooks {
  /** The domains that exist. */
  readonly domains: readonly number[];
  /** The domain of an endpoint. */
  domainOf(endpoint: number): number | undefined;
  /** The mappings of a domain, in the order of their addresses. */
  mappings(domain: number): Iterable<Mapping>;
}

/** How much a device keeps; there is no end to what is not named. What exceeds it is answered with NOMEM. */
export interface TargetLimits {
  readonly domains?: number;
  readonly mappingsPerDomain?: number;
  /** In all domains together. */
  readonly mappings?: number;
}

/** One device, powered up and left alone: status 0, no queue enabled, nothing attached. */
export interface DeviceTarget {
  /** Memory that the device can reach, at the guest-physical addresses it knows. */
  readonly memory: GuestMemory;
  /** The part of {@link memory} that is the suite's: page-aligned, at least 512 KiB, all zero. */
  readonly window: { readonly start: bigint; readonly bytes: number };
  /** Which transport's clauses apply. */
  readonly transport: 'mmio' | 'pci' | 'other';

  /** The device status register. Writing 0 is a device reset, and returns when it reads 0 or did not in 1 s. */
  readStatus(): number;
  writeStatus(value: number): void;
  /** All offered feature bits. */
  readFeatures(): bigint;
  /** Writes all words of the accepted features. FEATURES_OK is up to the suite. */
  writeFeatures(features: bigint): void;
  /** A field of the configuration space, 1, 2 or 4 bytes, in one access of this width where the platform can. */
  readConfig(offset: number, width: number): number;
  /** `value` is an unsigned number, here as everywhere. */
  writeConfig(offset: number, width: number, value: number): void;
  /** The configuration generation, where the transport has one. */
  readGeneration?(): number;

  /** The largest size of a queue; 0 if there is none. */
  queueSizeMax(queue: number): number;
  /** Programs a queue and enables it. */
  enableQueue(queue: number, layout: QueueLayout): void;
  /** Resets one queue (RING_RESET), and returns when it is done. Absent where that cannot be tried. */
  resetQueue?(queue: number): void;
  /** Available buffer notification. `data` is what NOTIFICATION_DATA adds; the suite negotiates it only to give it. */
  notify(queue: number, data?: number): void;
  /**
   * Lets the device work until `done` says so: true then, false if it did not within `timeoutMs`, or cannot any more
   * because a device in this thread has nothing left to do. Memory is fresh whenever `done` is called, and afterwards.
   *
   * @throws {TargetFailure} if the device is gone.
   */
  wait(done: () => boolean, timeoutMs: number): boolean;
  /** Takes and acknowledges what the device has announced. Absent where that cannot be seen. */
  takeInterrupts?(): TargetInterrupts;
  /**
   * How long silence must last to count as such, in milliseconds: 0 where {@link wait} knows that nothing is left.
   * Cases that expect no completion wait this long.
   */
  readonly quietMs: number;

  /** Besides `device`, which every target has by its status register. */
  readonly resets: readonly ResetKind[];
  reset?(kind: Exclude<ResetKind, 'device'>): void;

  /** Two or more that are present, and one that is absent, serve the suite best. */
  readonly endpoints: readonly TargetEndpoint[];
  /**
   * One access by an endpoint, done or refused when this returns: a read fills `bytes` with what the endpoint got, a
   * write takes them. Absent where endpoints cannot be made to do that.
   */
  dma?(endpoint: number, direction: DmaDirection, iova: bigint, bytes: Uint8Array): DmaOutcome;

  /** How much it keeps, where that is known and little. */
  readonly limits?: TargetLimits;
  /** What the device knows, where it lets itself be looked at: the fuzzer compares it with the model. */
  readonly books?: TargetBooks;
  /** Saves the device, and has it go on as what was saved. Absent where that cannot be done. */
  save?(): void;

  /** The registers themselves, where the transport is virtio-mmio. */
  readonly registers?: TargetRegisters;

  /** Ends the device. Nothing of this target is used afterwards. */
  dispose(): void;
}

/**
 * How a case would like its device to be. A target does what it can: the case looks at what it got, and is skipped if
 * that is something else.
 */
export interface TargetWish {
  /** Feature bits not to offer. */
  readonly withoutFeatures?: bigint;
  /** Feature bits to offer that are off by default, such as RING_PACKED. */
  readonly withFeatures?: bigint;
  readonly pageSizeMask?: bigint;
  readonly inputRange?: { readonly start: bigint; readonly last: bigint };
  readonly domainRange?: { readonly first: number; readonly last: number };
  readonly probeSize?: number;
  /** The first value of the `bypass` field. */
  readonly bypass?: boolean;
  /** Regions of the first present endpoint. */
  readonly reserved?: readonly TargetRegion[];
  readonly queueSize?: number;
  /** How much the device keeps. */
  readonly limits?: TargetLimits;
  /** Where the memory of the device begins, a multiple of 4096. */
  readonly memoryStart?: bigint;
}

/** Opens targets of one kind. Every case gets one of its own, so that none sees what another left. */
export interface DeviceTargetFactory {
  /** For people: `core`, `qemu 7.2.22`. */
  readonly name: string;
  /** The longest a single case may take before it counts as a hang, opening included; default 20,000 ms. */
  readonly caseTimeoutMs?: number;
  /** How many may be open at once, each in a thread of its own; default as many as there are processors. */
  readonly parallel?: number;
  /**
   * For the fuzzer: the choices that the target is known to make; the others are those that the standard recommends.
   * Without it any choices will do that conform, and are found out.
   */
  readonly choices?: Partial<Choices>;
  /**
   * True if the device is in another thread or process: what is thrown here, and is no {@link TargetFailure}, is then a
   * mistake of the suite or of the target, and skips the case. Without it, it is a crash of the device.
   */
  readonly apart?: boolean;
  /** Divergences of this target that are known, unless the caller brings others. */
  readonly manifest?: Manifest;
  /** @throws {TargetFailure} if the device does not come up. */
  open(wish: TargetWish): DeviceTarget | Promise<DeviceTarget>;
  /** Ends what a factory keeps between targets, such as a process that it resets. */
  close?(): void;
  /**
   * The same for the fuzzer, which opens thousands: targets that cost less to open, and less to look at, for it does not
   * mind if they share more with each other. Whoever calls this calls `close` of what it returns.
   */
  kept?(): DeviceTargetFactory;
}

/** The device under test died, or does not answer any more. It is a verdict on the case, and the target is not used again. */
export class TargetFailure extends Error {
  override readonly name = 'TargetFailure';
  readonly how: 'crash' | 'hang';
  /** What it said last, as lines. */
  readonly lastWords: readonly string[];

  constructor(how: 'crash' | 'hang', message: string, lastWords: readonly string[] = []) {
    super(message);
    this.how = how;
    this.lastWords = lastWords;
  }
}
