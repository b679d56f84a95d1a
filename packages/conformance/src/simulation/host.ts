/**
 * The host of a simulation: one thread with the IOMMU and a disk, and all that can happen to it.
 *
 * It works when it gets a turn, asks for notifications when it finds nothing, and then sleeps until it is notified.
 */

import { MemoryBacking } from '@viommu/blk';
import { IommuError } from '@viommu/common';
import { type IommuDevice, TranslateOutcome, Translation } from '@viommu/device';
import { MemoryMap } from '@viommu/machine';
import type { SharedMemory, TranslatedMemory } from '@viommu/ring';
import {
  type DevicePort,
  MmioDevice,
  MmioTransport,
  type RegisterDevice,
  type RegisterPort,
  type RegisterWindow,
} from '@viommu/transport';
import { FaultLedger } from './fault-ledger.ts';
import { FragileDevice, makeDisk } from './host-device.ts';
import { DISK_ID, type Plan } from './plan.ts';
import { StageBell, watchMemory } from './shared.ts';
import type { Stage } from './stage.ts';

/** As long as a guest waits for a register write. */
const ANSWER_MS = 5000;
const DISK_BYTES = 64 << 10;
const RAM_BYTES = 2 << 20;

/** Places of the devices. */
export const Place = { IOMMU: 0, DISK: 1 } as const;

/** The host's thread has died. */
class Death extends Error {}

export class Host {
  readonly map: MemoryMap = new MemoryMap({ devices: 2, ramBytes: RAM_BYTES });
  readonly buffer: SharedArrayBuffer = this.map.createBuffer();
  /** RAM, for accesses of endpoints. */
  readonly memory: SharedMemory = this.map.ram(this.buffer);
  readonly ledger: FaultLedger;
  iommu: IommuDevice;
  readonly #stage: Stage;
  readonly #plan: Plan;
  /** The same, for devices: they can die between two accesses. */
  readonly #memory: SharedMemory = this.map.ram(this.buffer);
  readonly #windows: readonly RegisterWindow[];
  readonly #bells: readonly StageBell[];
  readonly #backing: MemoryBacking = new MemoryBacking(new Uint8Array(DISK_BYTES));
  readonly #translation: Translation = new Translation();
  #mmio: MmioDevice;
  #port: () => DevicePort | undefined = () => undefined;
  #disk: RegisterDevice | undefined = undefined;
  /** Register writes that nobody waits for. */
  readonly #posted: (() => void)[] = [];
  #state: 'awake' | 'drowsy' | 'asleep' | 'dead' = 'awake';
  /** Turns in which it found nothing to do. */
  #idleTurns = 0;
  #busyUntilMs = 0;
  #accessesLeft = Infinity;
  #downMs = 0;
  #running = false;
  #diskMemory: TranslatedMemory | undefined = undefined;

  constructor(stage: Stage, plan: Plan) {
    this.#stage = stage;
    this.#plan = plan;
    this.ledger = new FaultLedger(stage);
    this.#windows = Object.values(Place).map((place) => this.map.window(this.buffer, place));
    this.#bells = Object.keys(Place).map((name) => new StageBell(stage, name));
    watchMemory(this.#memory, () => {
      this.#accessesLeft -= 1;
      if (this.#accessesLeft === 0) throw new Death();
    });
    const device = new FragileDevice(this.#stage, this.#plan.device);
    this.iommu = device;
    this.#mmio = this.#makeMmio(device);
    this.#makeDisk();
  }

  /** Accesses for which there was no event buffer. */
  get droppedFaults(): number {
    return this.iommu.droppedFaults;
  }

  /** The driver's way to one of the devices. */
  transport(place: number): MmioTransport {
    return new MmioTransport({
      port: this.port(place),
      doorbells: {
        ring: () => this.#stage.deliver('a notification', () => this.wake()),
      },
      interruptBell: this.bell(place),
    });
  }

  bell(place: number): StageBell {
    return this.#bells[place]!; // There is one for each place.
  }

  port(place: number): RegisterPort {
    const window = this.#windows[place]!; // As above.
    const write = (offset: number, width: number, value: number): void => {
      this.#stage.visit();
      this.#answer();
      this.#run(() => {
        this.#serveRegisters();
        this.#device(place)?.write(offset, width, value);
      });
      if (this.#state === 'dead') throw TIMED_OUT();
      this.wake();
    };
    return {
      read: (offset, width) => {
        this.#stage.visit();
        return window.read(offset, width);
      },
      write,
      post: (offset, width, value) => {
        this.#posted.push(() => this.#device(place)?.write(offset, width, value));
        this.wake();
      },
    };
  }

  /** Somebody wants something. */
  wake(): void {
    if (this.#state === 'dead' || this.#state === 'awake') return;
    this.#state = 'awake';
    this.#idleTurns = 0;
    this.#run(() => {
      this.#mmio.suppress();
      this.#disk?.suppress();
    });
  }

  /** A step of the host's thread. False if it sleeps, or cannot work. */
  work(): boolean {
    if (this.#state === 'dead' || this.#state === 'asleep') return false;
    if (this.#stage.nowMs < this.#busyUntilMs) return false;
    this.#run(() => {
      this.#serveRegisters();
      if (this.#state === 'drowsy') {
        const armed = this.#mmio.arm();
        this.#state = (this.#disk?.arm() ?? true) && armed ? 'asleep' : 'drowsy';
        if (this.#state === 'asleep') return;
        this.#mmio.suppress();
        this.#disk?.suppress();
      }
      const served = this.#mmio.serve();
      const worked = (this.#disk?.serve() ?? false) || served;
      this.#idleTurns = worked ? 0 : this.#idleTurns + 1;
      this.#state = this.#idleTurns > this.#plan.hostPolls ? 'drowsy' : 'awake';
    });
    return true;
  }

  /** An access of an endpoint; pieces for it, or `undefined` if it is refused. */
  translate(
    id: number,
    page: number,
    offset: number,
    bytes: number,
    access: number,
  ): Translation | undefined {
    const found = this.#translation;
    let allowed = false;
    this.#run(() => {
      const { iommu } = this.iommu;
      const outcome = iommu.translate(id, page, offset, bytes, access, found);
      allowed = outcome === TranslateOutcome.OK;
      if (!allowed) this.ledger.refused(id, found.faultPage);
    });
    return allowed ? found : undefined;
  }

  /** Interrupts for nothing. */
  interruptForNothing(): void {
    this.bell(this.#stage.random.number(this.#bells.length)).ring();
  }

  changeConfiguration(): void {
    this.#run(() => this.#mmio.configChanged());
  }

  /** Does nothing for a while. */
  pause(ms: number): void {
    this.#busyUntilMs = this.#stage.nowMs + ms;
    this.#stage.timeline.after(ms, () => undefined);
  }

  /** Changes some bytes of what lies in the driver's queues, or elsewhere in memory. */
  scribble(): void {
    const { random } = this.#stage;
    const at = 4 * random.number(random.pick([256, 4096, 16_384]));
    this.memory.setUint32(at, random.pick([0, 1, 0xffff_ffff, random.next()]));
  }

  needReset(): void {
    this.#run(() => this.#port()?.needsReset('The simulation wants it.'));
  }

  systemReset(): void {
    this.#run(() => this.#mmio.systemReset());
  }

  /** Saves the IOMMU and goes on with another one, as another host would. */
  migrate(): void {
    this.#run(() => {
      this.#serveRegisters();
      const image = this.#mmio.save();
      this.#mmio = this.#makeIommu();
      this.#mmio.restore(image);
      const again = this.#mmio.save();
      this.#stage.check(
        image.length === again.length && image.every((byte, at) => byte === again[at]),
        'migration',
        'what was restored is saved otherwise',
      );
    });
    this.wake();
  }

  /** The thread dies after so many accesses to memory, and another one takes its place after a while. */
  die(accesses: number, downMs: number): void {
    this.#accessesLeft = accesses;
    this.#downMs = downMs;
  }

  /** Waits until there is a host that works. */
  await(): void {
    this.#accessesLeft = Infinity;
    while (this.#state === 'dead' || this.#stage.nowMs < this.#busyUntilMs)
      this.#stage.turn(Infinity);
  }

  #run(work: () => void): void {
    if (this.#state === 'dead') return;
    const outermost = !this.#running;
    this.#running = true;
    try {
      work();
    } catch (error) {
      if (!(error instanceof Death) || !outermost) throw error;
      this.#stage.note(() => 'the host dies');
      this.#stage.excused = true;
      this.#state = 'dead';
      this.#accessesLeft = Infinity;
      this.#stage.timeline.after(this.#downMs, () => this.#revive());
    } finally {
      if (outermost) this.#running = false;
    }
  }

  #revive(): void {
    this.#stage.note(() => 'there is a host again');
    this.#state = 'awake';
    this.#posted.length = 0;
    this.#mmio = this.#makeIommu();
    this.#makeDisk();
  }

  #serveRegisters(): void {
    for (const write of this.#posted.splice(0)) write();
  }

  /** Lets time pass until the host would answer. */
  #answer(): void {
    const stage = this.#stage;
    const answers = (): boolean => this.#state !== 'dead' && stage.nowMs >= this.#busyUntilMs;
    if (!stage.wait(answers, ANSWER_MS)) throw TIMED_OUT();
  }

  #device(place: number): RegisterDevice | undefined {
    return place === Place.IOMMU ? this.#mmio : this.#disk;
  }

  #makeIommu(): MmioDevice {
    const device = new FragileDevice(this.#stage, this.#plan.device);
    this.iommu = device;
    return this.#makeMmio(device);
  }

  #makeMmio(device: FragileDevice): MmioDevice {
    this.#port = () => device.port;
    if (this.#diskMemory !== undefined) device.iommu.keep(this.#diskMemory);
    return new MmioDevice({
      window: this.#windows[Place.IOMMU]!, // It is there.
      interruptBell: this.bell(Place.IOMMU),
      memory: this.#memory,
      device,
    });
  }

  #makeDisk(): void {
    if (!this.#plan.disk) return;
    const { memory, device } = makeDisk({
      memory: this.#memory,
      backing: this.#backing,
      packed: this.#plan.device.features?.packed ?? false,
      translate: (page, offset, bytes, access) =>
        this.translate(DISK_ID, page, offset, bytes, access),
    });
    this.#diskMemory = memory;
    this.iommu.iommu.keep(memory);
    this.#disk = new MmioDevice({
      window: this.#windows[Place.DISK]!, // It is there.
      interruptBell: this.bell(Place.DISK),
      memory,
      device,
    });
  }
}

const TIMED_OUT = (): IommuError => new IommuError('ETIMEDOUT', 'The host does not answer.');
