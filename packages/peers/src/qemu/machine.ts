/** A machine made of a QEMU: a PC with no guest in it, a virtio-iommu, and endpoints behind it. */

import { closeSync, ftruncateSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { IommuError, PAGE_SIZE, guestPhysical } from '@viommu/common';
import { PciConfig } from '../spec/pci.ts';
import { haltImage } from './halt-image.ts';
import { MirrorMemory } from './mirror-memory.ts';
import { PciBus, type PciFunction } from './pci.ts';
import { type LostError, PeerProcess } from './peer-process.ts';
import type { QemuProgram } from './program.ts';
import type { Qtest } from './qtest.ts';
import { VirtioPci } from './virtio-pci.ts';

/** Slots of the PCI bus. */
export const IOMMU_SLOT = 4;

const RAM_MIB = 16;
/** RAM that is ours: behind what firmware of a PC uses. */
const WINDOW_START = guestPhysical(0x10_0000n);
const WINDOW_BYTES = 8 << 20;
const RESET_PORT = 0xcf9;
/** Asks for a reset, and does it. */
const RESET_VALUES = [2, 6] as const;
const RESET_POLLS_MAX = 10_000;
const LIFE_MS = 20_000;

/** What runs the processor, which has nothing to run. `tcg` is everywhere, `qtest` can step the clock. */
export type Accelerator = 'qtest' | 'tcg';

/** A further device on the bus: the name that QEMU has for it, with options behind commas. */
export interface QemuDevice {
  readonly slot: number;
  readonly text: string;
  /** Puts files that it needs into the folder of the process. */
  readonly prepare?: (folder: string) => void;
  /** The names of those that are needed later on as well. */
  readonly files?: readonly string[];
  /** Arguments that come behind it. */
  readonly args?: (folder: string) => readonly string[];
}

export interface QemuMachineOptions {
  readonly program: QemuProgram;
  /** Options of the IOMMU, by the names QEMU has for them. */
  readonly iommu?: Readonly<Record<string, string>>;
  readonly devices?: readonly QemuDevice[];
  /** The process is ended after this time; 20 s if absent. */
  readonly lifeMs?: number;
  /**
   * It serves one test after the other: see `PeerProcessOptions.kept`. Memory is read and written only around commands
   * that make QEMU act then.
   */
  readonly kept?: boolean;
  /** Makes the error that is thrown once the process has ended; a `PeerLost` if absent. */
  readonly lost?: LostError;
}

/** Which accelerators turned out to be missing, by program. */
const without = new Set<QemuProgram>();

/** One QEMU, from start to end. */
export class QemuMachine implements Disposable {
  readonly memory: MirrorMemory;
  readonly #options: QemuMachineOptions;
  #accelerator: Accelerator = 'qtest';
  #process: PeerProcess;
  #ram = -1;
  #bus: PciBus;
  #functions: readonly PciFunction[] = [];
  #iommu: VirtioPci;

  /**
   * Starts it and finds the IOMMU.
   *
   * @throws {IommuError} `ENOENT` if QEMU does not start, `ENODEV` if there is no IOMMU in it, `EINVAL` for an option
   * that is none.
   */
  constructor(options: QemuMachineOptions) {
    this.#options = options;
    const still = options.kept === true;
    this.memory = new MirrorMemory({ base: WINDOW_START, size: WINDOW_BYTES, still });
    this.#process = this.#start();
    try {
      [this.#bus, this.#iommu] = this.#discover();
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  get accelerator(): Accelerator {
    return this.#accelerator;
  }

  get qtest(): Qtest {
    return this.#process.qtest;
  }

  get process(): PeerProcess {
    return this.#process;
  }

  get bus(): PciBus {
    return this.#bus;
  }

  /** The registers of the IOMMU. Others after each reset of the machine. */
  get iommu(): VirtioPci {
    return this.#iommu;
  }

  /** What is on the bus. */
  get functions(): readonly PciFunction[] {
    return this.#functions;
  }

  /** A reset of the whole machine. Memory keeps what is in it. */
  reset(): void {
    this.memory.publish();
    for (const value of RESET_VALUES) this.qtest.writePort(RESET_PORT, 1, value);
    // QEMU does this after its reply: only then does the IOMMU no longer decode its addresses.
    for (let polls = 0; this.#bus.read(IOMMU_SLOT, PciConfig.COMMAND, 2) !== 0; polls += 1)
      if (polls === RESET_POLLS_MAX)
        throw new IommuError('ETIMEDOUT', 'The machine was not reset in time.');
    this.memory.refresh();
    if (this.#options.kept !== true) {
      [this.#bus, this.#iommu] = this.#discover();
      return;
    }
    // All that was found is still there, once the device decodes the same addresses again.
    this.#bus = new PciBus(this.qtest);
    this.#bus.enable(IOMMU_SLOT);
  }

  /** Ends QEMU and starts another. Memory is zero then. */
  restart(): void {
    this.dispose();
    this.#process = this.#start();
    [this.#bus, this.#iommu] = this.#discover();
  }

  dispose(): void {
    this.#process.dispose();
    this.memory.close();
    if (this.#ram >= 0) closeSync(this.#ram);
    this.#ram = -1;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #discover(): [PciBus, VirtioPci] {
    const bus = new PciBus(this.qtest);
    this.#functions = bus.scan();
    const pciFunction = this.#functions.find(({ device }) => device === IOMMU_SLOT);
    if (pciFunction === undefined) throw new IommuError('ENODEV', 'There is no IOMMU on the bus.');
    const { qtest, memory } = this;
    return [bus, new VirtioPci({ qtest, bus, pciFunction, memory })];
  }

  #start(): PeerProcess {
    const { program } = this.#options;
    if (!without.has(program)) {
      try {
        return this.#startWith('qtest');
      } catch (error) {
        if (!(error instanceof IommuError) || !error.message.includes('accelerator')) throw error;
        without.add(program);
      }
    }
    return this.#startWith('tcg');
  }

  #startWith(accelerator: Accelerator): PeerProcess {
    const { program, devices = [], lifeMs = LIFE_MS, kept = false, lost } = this.#options;
    let ram = -1;
    try {
      const started = new PeerProcess({
        command: program.command,
        args: (folder) => this.#args(folder, accelerator),
        prepare: (folder) => {
          writeFileSync(join(folder, 'halt.rom'), haltImage());
          ram = openSync(join(folder, 'ram'), 'w+');
          ftruncateSync(ram, RAM_MIB << 20);
          for (const device of devices) device.prepare?.(folder);
        },
        files: devices.flatMap(({ files = [] }) => files),
        lifeMs,
        kept,
        ...(lost === undefined ? {} : { lost }),
      });
      this.#accelerator = accelerator;
      this.#ram = ram;
      // Guest-physical address n is byte n of the file, as there is no more memory than fits below 4 GiB.
      this.memory.open(ram, Number(WINDOW_START));
      return started;
    } catch (error) {
      if (ram >= 0) closeSync(ram);
      throw error;
    }
  }

  #args(folder: string, accelerator: Accelerator): string[] {
    const { iommu = {}, devices = [] } = this.#options;
    const quiet = '-nodefaults -no-user-config -display none -qtest-log none';
    const options = [
      ['-accel', accelerator],
      ['-bios', join(folder, 'halt.rom')],
      ['-qtest', `pipe:${join(folder, 'q')}`],
      ['-m', `${RAM_MIB}M`],
      ['-machine', 'q35,memory-backend=ram0'],
      ['-object', ramObject(join(folder, 'ram'))],
      ['-device', iommuDevice(iommu)],
    ];
    return [
      ...quiet.split(' '),
      ...options.flat(),
      ...devices.flatMap((device) => [...deviceArgs(device), ...(device.args?.(folder) ?? [])]),
    ];
  }
}

/** The part of memory that is free for rings and buffers. */
export const QEMU_WINDOW: { readonly start: bigint; readonly bytes: number } = {
  start: WINDOW_START,
  bytes: WINDOW_BYTES - (WINDOW_BYTES % PAGE_SIZE),
};

function ramObject(path: string): string {
  return `memory-backend-file,id=ram0,size=${RAM_MIB}M,mem-path=${path},share=on`;
}

function deviceArgs({ slot, text }: QemuDevice): string[] {
  return ['-device', `${text},addr=0x${slot.toString(16)}`];
}

function iommuDevice(options: Readonly<Record<string, string>>): string {
  const words = Object.entries(options).map(([name, value]) => {
    // A comma would begin another option.
    if (/^[\w-]+$/.test(name) && /^[\w.-]+$/.test(value)) return `,${name}=${value}`;
    throw new IommuError('EINVAL', `${name}=${value} is no option of a device.`);
  });
  return `virtio-iommu-pci,addr=0x${IOMMU_SLOT.toString(16)}${words.join('')}`;
}
