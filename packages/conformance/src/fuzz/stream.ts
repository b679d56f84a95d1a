/** What a fuzzer sends: a device as it is set up, and steps. Plain data, so that it can be stored and cut. */

import { IommuConfig, type StreamEvent, annotateRequest } from '@viommu/common';
import { hexOf } from '../device/transcript.ts';
import type { RingFormat } from '../device/start.ts';
import { attachBytes, detachBytes, mapBytes, probeBytes, unmapBytes } from '../device/request.ts';
import type { DmaDirection, TargetWish } from '../target.ts';

/** How the device is wished, and brought up. */
export interface Setup {
  readonly wish: TargetWish;
  readonly format: RingFormat;
  /** Features that the driver leaves alone. */
  readonly refuse: bigint;
  /** Descriptors of each queue, if the device has as many. */
  readonly queueSize: number;
  /** The driver has indirect tables, if they are negotiated. */
  readonly indirect: boolean;
}

/** A request, of which several may go out at once. */
export interface RequestStep {
  readonly kind: 'request';
  readonly readable: Uint8Array;
  /** Writable bytes. */
  readonly room: number;
  /** Sizes of all but the last buffer of the readable part, and of the writable part. */
  readonly cuts?: readonly [readable: readonly number[], writable: readonly number[]];
  /** It waits for the step behind it before the device is notified. */
  readonly held: boolean;
}

export interface AccessStep {
  readonly kind: 'access';
  readonly endpoint: number;
  readonly direction: DmaDirection;
  readonly address: bigint;
  /** Bytes, 1 or more. */
  readonly length: number;
}

/** A buffer for the event queue. */
export interface PostStep {
  readonly kind: 'post';
  readonly bytes: number;
}

/** A write to the configuration space. */
export interface ConfigStep {
  readonly kind: 'config';
  readonly offset: number;
  readonly width: number;
  readonly value: number;
}

export interface ResetStep {
  readonly kind: 'reset';
  readonly of: 'device' | 'system';
  /** Features that the driver leaves alone from then on. */
  readonly refuse: bigint;
}

/**
 * The device is saved, and goes on as what was saved; targets that cannot do that skip it. Requests that were held are
 * available by then, and not served.
 */
export interface SaveStep {
  readonly kind: 'save';
}

/** The driver does something about a queue, of which nothing is in flight. */
export interface QueueStep {
  readonly kind: 'queue';
  readonly queue: number;
  /** It asks for used buffer notifications, or for none; or it resets the queue and enables it again. */
  readonly act: 'listen' | 'ignore' | 'renew';
}

/**
 * Requests that nobody knows, so many that the next position in the ring is `to`: positions begin again after 2^16. No
 * effect on packed rings, which begin again with every turn.
 */
export interface TurnStep {
  readonly kind: 'turn';
  readonly to: number;
}

/**
 * From here to the next reset the driver breaks rules: requests are made available and not waited for, and nothing is
 * compared. The device may do with them what it likes, but not fall over, and after a reset it is as good as new.
 */
export interface WildStep {
  readonly kind: 'wild';
}

/** Bytes written into the window over whatever is there. */
export interface PokeStep {
  readonly kind: 'poke';
  /** From the start of the window; what lies beyond its end is left out. */
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** An available buffer notification, after which the device works as long as it finds something to do. */
export interface KickStep {
  readonly kind: 'kick';
  readonly queue: number;
}

export type Step =
  | RequestStep
  | AccessStep
  | PostStep
  | ConfigStep
  | ResetStep
  | SaveStep
  | QueueStep
  | TurnStep
  | WildStep
  | PokeStep
  | KickStep;

/** One input. */
export interface Stream {
  readonly setup: Setup;
  readonly steps: readonly Step[];
}

/** A step in a line. */
export function formatStep(step: Step): string {
  switch (step.kind) {
    case 'request': {
      const cut = step.cuts === undefined ? '' : `, cut ${JSON.stringify(step.cuts)}`;
      const held = step.held ? ', held' : '';
      return `request, ${step.readable.length} bytes and ${step.room} writable ones${cut}${held}`;
    }
    case 'access': {
      const { endpoint, direction, length, address } = step;
      return `endpoint ${endpoint}: ${direction} of ${length} bytes at 0x${address.toString(16)}`;
    }
    case 'post':
      return `event buffer of ${step.bytes} bytes`;
    case 'config':
      return `configuration, ${step.width} bytes at ${step.offset}: 0x${step.value.toString(16)}`;
    case 'reset':
      return `reset of the ${step.of}, without the features 0x${step.refuse.toString(16)}`;
    case 'save':
      return 'save and restore';
    case 'queue':
      return `queue ${step.queue}: ${step.act}`;
    case 'turn':
      return `requests of no known type until position ${step.to} of the ring`;
    case 'wild':
      return 'the driver breaks rules from here on';
    case 'poke':
      return `bytes at 0x${step.at.toString(16)} of the window: ${hexOf(step.bytes)}`;
    case 'kick':
      return `notification of queue ${step.queue}`;
  }
}

/** Steps with every byte of their requests named. */
export function annotateSteps(steps: readonly Step[], first = 0): string[] {
  return steps.flatMap((step, index) => [
    `${first + index + 1}. ${formatStep(step)}`,
    ...(step.kind === 'request' ? annotateRequest(step.readable).map((line) => `   ${line}`) : []),
  ]);
}

/**
 * The step that does what a recording tells, so that recordings of real guests serve as inputs; undefined for what is no
 * step.
 */
export function stepOf(event: StreamEvent): Step | undefined {
  if (event.kind === 'refused') return stepOf({ removed: [], ...event.request } as StreamEvent); // a request is an event
  const request = (readable: Uint8Array, room = 4): RequestStep => {
    return { kind: 'request', readable, room, held: false };
  };
  switch (event.kind) {
    case 'attach':
      return request(attachBytes(event.domain, event.endpoint, event.flags));
    case 'detach':
      return request(detachBytes(event.domain, event.endpoint));
    case 'map': {
      const { domain, virtStart, virtLast, physStart, flags } = event;
      return request(mapBytes({ domain, virtStart, virtEnd: virtLast, physStart, flags }));
    }
    case 'unmap':
      return request(unmapBytes(event.domain, event.virtStart, event.virtLast));
    case 'probe':
    case 'probe-empty':
      return request(probeBytes(event.endpoint), PROBE_ROOM);
    case 'access':
    case 'fault': {
      const { endpoint, address } = event;
      const direction = event.access === 'r' ? 'read' : 'write';
      return { kind: 'access', endpoint, direction, address, length: 8 };
    }
    case 'device-reset':
    case 'system-reset':
      return { kind: 'reset', of: event.kind === 'device-reset' ? 'device' : 'system', refuse: 0n };
    case 'bypass':
      return { kind: 'config', offset: BYPASS_AT, width: 1, value: event.value };
    case 'features':
    case 'config':
    case 'notify':
      return undefined;
  }
}

/** Enough for every `probe_size` that recordings have. */
const PROBE_ROOM = 516;
const BYPASS_AT = IommuConfig.offset.bypass;
