/**
 * What the suite asks of a driver under test: {@link DriverTarget}. The suite is the device: memory, registers and two
 * queues behind them, with a script for every answer, right or wrong.
 *
 * As on the other side, methods are synchronous. A driver in the same thread waits by calling
 * {@link DriverEnvironment.work} until its answer is there; one in another thread or machine is left running while the
 * suite works until {@link DriverTarget.settled}.
 */

import type { GuestMemory } from '@viommu/ring';
import type { TargetRegion, TargetRegisters } from './target.ts';

/** What a driver is given. */
export interface DriverEnvironment {
  /** Guest memory; the driver takes rings and buffers from {@link window}. */
  readonly memory: GuestMemory;
  readonly window: { readonly start: bigint; readonly bytes: number };
  /** A virtio-mmio register window of version 2 with the device behind it. A write has its effect before it returns. */
  readonly registers: TargetRegisters;
  /** True while the device asserts its interrupt. */
  interrupted(): boolean;
  /**
   * Lets the device work. The driver calls this whenever it waits, and gives up when the answer is false: nothing more
   * will ever come, as if time had run out.
   */
  work(): boolean;
  /** Milliseconds that pass while the driver waits. */
  now(): number;
}

/** Something that a driver is asked to do for the operating system around it. */
export type DriverAction =
  /** Finds out about an endpoint, as for a device that appears. */
  | { readonly kind: 'probe'; readonly endpoint: number }
  /** Gives an endpoint a translated domain of its own, or with `domain` one under this name that others may share. */
  | {
      readonly kind: 'attach';
      readonly endpoint: number;
      readonly domain?: string;
      readonly bypass?: true;
    }
  | { readonly kind: 'detach'; readonly endpoint: number }
  /**
   * Maps in the domain of an endpoint, in whole pages of 4096 bytes. Refused where a driver knows better: outside the
   * input range, reserved for an endpoint of the domain, mapped already, of no kind that the device has.
   */
  | {
      readonly kind: 'map';
      readonly endpoint: number;
      readonly iova: bigint;
      readonly phys: bigint;
      readonly bytes: bigint;
      readonly write: boolean;
      readonly read?: false;
      readonly mmio?: true;
    }
  | {
      readonly kind: 'unmap';
      readonly endpoint: number;
      readonly iova: bigint;
      readonly bytes: bigint;
    }
  /** Handles interrupts, fault records among them. */
  | { readonly kind: 'interrupt' }
  /** Writes the `bypass` field. */
  | { readonly kind: 'bypass'; readonly value: boolean }
  /** Resets one queue (RING_RESET) and goes on with a new one. */
  | { readonly kind: 'reset-queue'; readonly queue: number }
  /** Goes away, so that another driver could take over. */
  | { readonly kind: 'remove' };

/** What a driver says about an action. `unsupported`: it has nothing of the kind, and the case is skipped. */
export type DriverOutcome =
  | { readonly result: 'ok'; readonly reserved?: readonly TargetRegion[] }
  | { readonly result: 'refused'; readonly reason: string }
  | { readonly result: 'unsupported' };

/** One driver, not started. */
export interface DriverTarget {
  /** Finds the device and takes it to DRIVER_OK, or gives up on it. */
  start(environment: DriverEnvironment): DriverOutcome;
  /** Does one thing, and returns when the driver has done with it. */
  perform(action: DriverAction): DriverOutcome;
  /** Faults that the driver has told the operating system about since the last call; absent if that cannot be seen. */
  takeFaults?(): readonly { readonly endpoint: number; readonly address?: bigint }[];
  /** For a driver that runs elsewhere: true once it does nothing more by itself. */
  settled?(): boolean;
  /** Ends the driver. Nothing of this target is used afterwards. */
  dispose(): void;
}

/** Opens drivers of one kind; every case gets one of its own. */
export interface DriverTargetFactory {
  /** For people. */
  readonly name: string;
  /** The longest a single case may take before it counts as a hang; default 20,000 ms. */
  readonly caseTimeoutMs?: number;
  open(): DriverTarget | Promise<DriverTarget>;
}
