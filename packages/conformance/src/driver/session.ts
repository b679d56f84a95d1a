/** What driver cases are written with: one driver on one scripted device. */

import { annotateRequest, guestPhysical } from '@viommu/common';
import { SharedMemory } from '@viommu/ring';
import { clauseOf } from '../catalogue.ts';
import { Judge } from '../judge.ts';
import type {
  DriverAction,
  DriverEnvironment,
  DriverOutcome,
  DriverTarget,
} from '../driver-target.ts';
import { type TargetRegion, TargetFailure } from '../target.ts';
import { Skipped, Violation } from '../verdict.ts';
import type { Ledger } from './ledger.ts';
import { type DeviceScript, ScriptedDevice, type SeenRequest } from './scripted-device.ts';

const RAM_BASE = 0x4000_0000n;
const RAM_BYTES = 0x10_0000;
/** Milliseconds of a turn that found work, and of one that did not. */
const BUSY_MS = 1;
const IDLE_MS = 1000;
/** A driver that waits for so many idle turns within one action waits forever. */
const IDLE_TURNS_MAX = 10_000;
const REQUESTS_TOLD = 12;

/** Endpoints that cases use; the platform has them. */
export const A = 8;
export const B = 0x1_0028;
export const C = 9;

/** A map action without its endpoint. */
export type MapWish = Omit<Extract<DriverAction, { kind: 'map' }>, 'kind' | 'endpoint'>;

export class DriverSession extends Judge {
  readonly memory: SharedMemory;
  readonly device: ScriptedDevice;
  readonly target: DriverTarget;
  /** What the driver was asked and what it said, in order. */
  readonly steps: string[] = [];
  /** Called at each turn in which the driver waits, before the device works. */
  onWork: () => void = () => undefined;
  readonly #id: string;
  #nowMs = 0;
  #idleTurns = 0;

  constructor(target: DriverTarget, id: string, script: DeviceScript = {}) {
    super();
    const buffer = new SharedArrayBuffer(RAM_BYTES);
    const base = guestPhysical(RAM_BASE);
    this.memory = new SharedMemory({ buffer, offset: 0, size: RAM_BYTES, base });
    this.device = new ScriptedDevice(this.memory, script);
    this.target = target;
    this.#id = clauseOf(id);
  }

  get ledger(): Ledger {
    return this.device.ledger;
  }

  // --- What the driver is asked ------------------------------------------------------------------------------------

  /** Lets the driver take the device over, whatever comes of it. */
  start(): DriverOutcome {
    const { memory, device } = this;
    const environment: DriverEnvironment = {
      memory,
      window: { start: RAM_BASE, bytes: RAM_BYTES },
      registers: device.registers,
      interrupted: () => device.registers.interruptStatus !== 0,
      work: () => this.#work(),
      now: () => this.#nowMs,
    };
    return this.#ask('start', () => this.target.start(environment));
  }

  perform(action: DriverAction): DriverOutcome {
    const { kind, ...rest } = action;
    const words = Object.entries(rest).map(([name, value]) => `${name} ${textOf(value)}`);
    return this.#ask([kind, ...words].join(' '), () => this.target.perform(action));
  }

  /** As {@link start}; a driver that does not start cannot be judged by this case. */
  up(): void {
    this.setUp(this.start());
  }

  probe(endpoint: number = A): DriverOutcome {
    return this.perform({ kind: 'probe', endpoint });
  }

  attach(endpoint: number = A, domain?: string): DriverOutcome {
    return this.perform({ kind: 'attach', endpoint, ...(domain === undefined ? {} : { domain }) });
  }

  detach(endpoint: number = A): DriverOutcome {
    return this.perform({ kind: 'detach', endpoint });
  }

  /** Maps pages of 4096 bytes from page `first` of the range that cases use; `more` changes the wish. */
  map(first: number, count = 1, endpoint: number = A, more: Partial<MapWish> = {}): DriverOutcome {
    return this.perform({
      kind: 'map',
      endpoint,
      iova: page(first),
      phys: RAM_BASE + 0x8_0000n,
      bytes: BigInt(count) << 12n,
      write: true,
      ...more,
    });
  }

  unmap(first: number, count = 1, endpoint: number = A): DriverOutcome {
    return this.perform({
      kind: 'unmap',
      endpoint,
      iova: page(first),
      bytes: BigInt(count) << 12n,
    });
  }

  /** The driver handles the interrupt. */
  handleInterrupt(): DriverOutcome {
    return this.perform({ kind: 'interrupt' });
  }

  /** From nothing to endpoint A in a domain. */
  attached(): void {
    this.up();
    this.setUp(this.attach());
  }

  /** A step that must succeed for the case to make sense; it is skipped otherwise. */
  setUp(outcome: DriverOutcome): void {
    if (outcome.result === 'unsupported')
      throw new Skipped(`the driver has nothing of the kind: ${this.steps.at(-1)}`);
    if (outcome.result === 'refused') throw new Skipped(`cannot be set up: ${this.steps.at(-1)}`);
  }

  /** Skips the case if the driver has nothing of the kind. */
  supported(outcome: DriverOutcome): DriverOutcome {
    if (outcome.result === 'unsupported') this.setUp(outcome);
    return outcome;
  }

  /** Faults that the driver told of since. */
  faults(): readonly { readonly endpoint: number; readonly address?: bigint }[] {
    const { target } = this;
    if (target.takeFaults === undefined)
      throw new Skipped('nobody sees the faults that the driver tells of');
    return target.takeFaults();
  }

  /** Requests that the device saw, of one type or all, from place `from` on. */
  requests(type?: number, from = 0): readonly SeenRequest[] {
    return this.device.seen.slice(from).filter((one) => type === undefined || one.type === type);
  }

  // --- Judgement ---------------------------------------------------------------------------------------------------

  /** Judges what the watchers found about a clause; that of the case if none is given. Without a look there is nothing to judge. */
  judge(clause: string = this.#id): void {
    const [finding] = this.ledger.of(clause);
    if (finding !== undefined) throw new Violation(finding.message);
    if (this.ledger.looks(clause) === 0)
      throw new Skipped('the driver did nothing that this is about');
  }

  /** What happened, for whoever asks why: steps, and the last requests byte by byte. */
  evidence(): string[] {
    const { seen } = this.device;
    const from = Math.max(0, seen.length - 2);
    return [
      ...this.steps.slice(-REQUESTS_TOLD),
      ...seen
        .slice(from)
        .flatMap(({ bytes, writableBytes }, index) => [
          `request ${from + index + 1} of ${seen.length}, ${writableBytes} writable bytes`,
          ...annotateRequest(bytes).map((line) => `  > ${line}`),
        ]),
    ];
  }

  /** One turn of the device. */
  #work(): boolean {
    this.onWork();
    const worked = this.device.work();
    this.#nowMs += worked ? BUSY_MS : IDLE_MS;
    this.#idleTurns = worked ? 0 : this.#idleTurns + 1;
    if (this.#idleTurns > IDLE_TURNS_MAX)
      throw new TargetFailure('hang', 'the driver waits for a device that will never answer');
    return worked;
  }

  #ask(step: string, action: () => DriverOutcome): DriverOutcome {
    this.device.registers.begin();
    this.#idleTurns = 0;
    let outcome: DriverOutcome;
    try {
      outcome = action();
      // A driver elsewhere has more to do after it answered.
      for (let turns = 0; turns < IDLE_TURNS_MAX && this.target.settled?.() === false; turns += 1)
        this.#work();
    } catch (error) {
      this.steps.push(`${step}: ${error instanceof Error ? error.message : String(error)}`);
      throw error;
    }
    for (const ring of this.device.rings) ring?.look();
    const why = outcome.result === 'refused' ? `, ${outcome.reason}` : '';
    this.steps.push(`${step}: ${outcome.result}${why}`);
    return outcome;
  }
}

/** The first address of page `index` of the range that cases use. */
export function page(index: number): bigint {
  return 0x20_0000n + (BigInt(index) << 12n);
}

/** True if the driver knows of a region that has an address in common with this one. */
export function knows(
  outcome: DriverOutcome,
  region: Pick<TargetRegion, 'start' | 'last'>,
): boolean {
  return (
    outcome.result === 'ok' &&
    (outcome.reserved ?? []).some(({ start, last }) => start <= region.last && last >= region.start)
  );
}

function textOf(value: unknown): string {
  return typeof value === 'bigint' ? `0x${value.toString(16)}` : String(value);
}
