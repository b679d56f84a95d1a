/** The machine of the stand-in: ports, PCI configuration space, registers of the IOMMU and of the devices that do DMA. */

import { openSync, readSync, writeSync } from 'node:fs';
import { MMIO_WINDOW_SIZE, MmioRegister, guestPhysical } from '@viommu/common';
import { IommuDevice } from '@viommu/device';
// By path: the stand-in is started often, and the whole package takes its time to load.
import { QEMU_WINDOW } from '../../../packages/peers/src/qemu/machine.ts';
import { MirrorMemory } from '../../../packages/peers/src/qemu/mirror-memory.ts';
import { Bell } from '@viommu/ring';
import { DirectPort, MmioDevice, RegisterWindow } from '@viommu/transport';
import { FakeCard } from './fake-card.ts';

/** A memory BAR: its number, its size, and whether it has 64 bits. */
interface Bar {
  readonly index: number;
  readonly size: number;
  readonly wide: boolean;
}

/** A function on the bus. */
interface FakeFunction {
  readonly config: DataView;
  readonly bars: readonly Bar[];
}

const IOMMU_SLOT = 4;
/** Structures behind BAR 4, a page each. */
const Page = { COMMON: 0, ISR: 1, CONFIG: 2, NOTIFY: 3 } as const;
const IOMMU_BAR = 4;
const IOMMU_BAR_BYTES = 0x4000;

/** Fields of the common structure that are those of virtio-mmio by another name. */
const TWINS: Readonly<Record<number, number>> = {
  0x00: MmioRegister.DeviceFeaturesSel,
  0x04: MmioRegister.DeviceFeatures,
  0x08: MmioRegister.DriverFeaturesSel,
  0x0c: MmioRegister.DriverFeatures,
  0x14: MmioRegister.Status,
  0x15: MmioRegister.ConfigGeneration,
  0x16: MmioRegister.QueueSel,
  0x1c: MmioRegister.QueueReady,
  0x20: MmioRegister.QueueDescLow,
  0x24: MmioRegister.QueueDescHigh,
  0x28: MmioRegister.QueueDriverLow,
  0x2c: MmioRegister.QueueDriverHigh,
  0x30: MmioRegister.QueueDeviceLow,
  0x34: MmioRegister.QueueDeviceHigh,
  0x3a: MmioRegister.QueueReset,
};
const Common = { QUEUE_SELECT: 0x16, QUEUE_SIZE: 0x18, NOTIFY_OFFSET: 0x1e } as const;

export interface FakeOptions {
  /** The pipes, without their endings. */
  readonly pipe: string;
  /** The file that is memory. */
  readonly ram: string;
  /** Those that are cards, by the slot of their controller. */
  readonly cards: ReadonlyMap<number, string>;
  readonly bypass: boolean;
  readonly packed: boolean;
  /** Tells of interrupts before each reply. */
  readonly loud: boolean;
}

/** Obeys until it is killed. */
export function serve({ pipe, ram, cards, bypass, packed, loud }: FakeOptions): never {
  const commands = openSync(`${pipe}.in`, 'r+');
  const replies = openSync(`${pipe}.out`, 'r+');
  const { start, bytes } = QEMU_WINDOW;
  const memory = new MirrorMemory({ base: guestPhysical(start), size: bytes });
  memory.open(openSync(ram, 'r+'), Number(start));
  const reserved = [{ start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' }] as const;
  const endpoints = [...cards.keys()].map((slot) => ({ id: slot << 3, reserved }));
  const device = new IommuDevice({ endpoints, bypass, features: { ringReset: true, packed } });
  const files = new Map([...cards].map(([slot, path]) => [slot, openSync(path, 'r+')]));
  const machine = new FakeMachine({ device, memory, cards: files });
  const buffer = Buffer.alloc(4096);
  for (let text = ''; ;) {
    const end = text.indexOf('\n');
    if (end < 0) {
      text += buffer.toString('latin1', 0, readSync(commands, buffer));
      continue;
    }
    memory.refresh();
    const answer = `${machine.obey(text.slice(0, end))}\n`;
    memory.publish();
    writeSync(replies, loud ? `IRQ raise 3\nIRQ lower 3\n${answer}` : answer);
    text = text.slice(end + 1);
  }
}

interface FakeMachineOptions {
  readonly device: IommuDevice;
  readonly memory: MirrorMemory;
  /** Files that are cards, by the slot of their controller. */
  readonly cards: ReadonlyMap<number, number>;
}

class FakeMachine {
  readonly #mmio: MmioDevice;
  readonly #port: DirectPort;
  readonly #functions: Map<number, FakeFunction> = new Map();
  readonly #cards: Map<number, FakeCard> = new Map();
  #configAddress = 0;
  #queue = 0;
  #resetAsked = false;

  constructor({ device, memory, cards }: FakeMachineOptions) {
    const buffer = new SharedArrayBuffer(0x1000);
    const window = new RegisterWindow(buffer, 0, MMIO_WINDOW_SIZE);
    const interruptBell = new Bell(new Int32Array(buffer, 0x800, 1), 0);
    this.#mmio = new MmioDevice({ window, interruptBell, memory, device });
    this.#port = new DirectPort(window, this.#mmio);
    this.#functions.set(0, functionOf(0x8086, 0x29c0, []));
    const iommu = functionOf(0x1af4, 0x1057, [
      { index: IOMMU_BAR, size: IOMMU_BAR_BYTES, wide: true },
    ]);
    addCapabilities(iommu.config);
    this.#functions.set(IOMMU_SLOT, iommu);
    for (const [slot, file] of cards) {
      const bars = [
        { index: 0, size: 0x100, wide: false },
        { index: 1, size: 0, wide: false },
      ];
      this.#functions.set(slot, functionOf(0x1b36, 7, bars));
      this.#cards.set(slot, new FakeCard({ device, memory, endpoint: slot << 3, file }));
    }
  }

  /** Does what a command says; the reply. */
  obey(command: string): string {
    const [verb = '', first = '', second = ''] = command.split(' ');
    const width = { b: 1, w: 2, l: 4 }[verb.slice(-1)] ?? 0;
    const value = Number(second);
    switch (verb.slice(0, -1)) {
      case 'in':
        return ok(this.#readPort(Number(first), width));
      case 'out':
        this.#writePort(Number(first), width, value);
        return 'OK';
      case 'read':
        return ok(this.#read(Number(first), width));
      case 'write':
        this.#write(Number(first), width, value);
        return 'OK';
      default:
        return verb === 'clock_step' ? ok(0) : 'FAIL Unknown command';
    }
  }

  #readPort(port: number, width: number): number {
    // A reset is done when the command after the one that asked for it comes.
    this.#resetIfAsked();
    const { config } = this.#functions.get((this.#configAddress >>> 11) & 31) ?? {};
    if (config === undefined) return 2 ** (8 * width) - 1;
    return get(config, (this.#configAddress & 0xfc) + (port & 3), width);
  }

  #writePort(port: number, width: number, value: number): void {
    if (port === 0xcf8) this.#configAddress = value;
    if (port === 0xcf9 && value === 6) this.#resetAsked = true;
    const found = this.#functions.get((this.#configAddress >>> 11) & 31);
    if (port < 0xcfc || port > 0xcff || found === undefined) return;
    const offset = (this.#configAddress & 0xfc) + (port & 3);
    if (offset === 4 && width === 2) found.config.setUint16(4, value & 6, true);
    for (const { index, size, wide } of found.bars) {
      const at = 0x10 + 4 * index;
      if (offset === at && size > 0)
        found.config.setUint32(at, ((value & -size) | (wide ? 4 : 0)) >>> 0, true);
      if (offset === at + 4 && wide) found.config.setUint32(at + 4, value, true);
    }
  }

  #resetIfAsked(): void {
    if (!this.#resetAsked) return;
    this.#resetAsked = false;
    this.#mmio.systemReset();
    for (const { config } of this.#functions.values()) config.setUint16(4, 0, true);
    for (const card of this.#cards.values()) card.reset();
  }

  #placeOf(address: number): { readonly slot: number; readonly offset: number } | undefined {
    for (const [slot, { config, bars }] of this.#functions) {
      if ((config.getUint16(4, true) & 2) === 0) continue;
      for (const { index, size } of bars) {
        const start = (config.getUint32(0x10 + 4 * index, true) & -16) >>> 0;
        if (address >= start && address < start + size) return { slot, offset: address - start };
      }
    }
    return undefined;
  }

  #read(address: number, width: number): number {
    const place = this.#placeOf(address);
    if (place === undefined) return 0;
    const { slot, offset } = place;
    if (slot !== IOMMU_SLOT) return this.#cards.get(slot)?.read(offset) ?? 0;
    const register = offset & 0xfff;
    if (offset >>> 12 === Page.CONFIG)
      return this.#port.read(MmioRegister.Config + register, width);
    if (offset >>> 12 === Page.ISR) {
      const bits = this.#port.read(MmioRegister.InterruptStatus, 4);
      this.#port.write(MmioRegister.InterruptACK, 4, bits);
      return bits;
    }
    if (register === Common.NOTIFY_OFFSET) return (2 * this.#queue) & 0xffff;
    const twin =
      register === Common.QUEUE_SIZE ? MmioRegister.QueueSizeMax : (TWINS[register] ?? -1);
    return twin < 0 ? 0 : (this.#port.read(twin, 4) & (2 ** (8 * width) - 1)) >>> 0;
  }

  #write(address: number, width: number, value: number): void {
    const place = this.#placeOf(address);
    if (place === undefined) return;
    const { slot, offset } = place;
    if (slot !== IOMMU_SLOT) return this.#cards.get(slot)?.write(offset, value);
    const register = offset & 0xfff;
    if (offset >>> 12 === Page.CONFIG)
      this.#port.write(MmioRegister.Config + register, width, value);
    if (offset >>> 12 === Page.NOTIFY && register === 8 * (value & 0xffff)) this.#serve();
    if (offset >>> 12 !== Page.COMMON) return;
    if (register === Common.QUEUE_SELECT) this.#queue = value;
    const twin = register === Common.QUEUE_SIZE ? MmioRegister.QueueSize : TWINS[register];
    if (twin !== undefined) this.#port.write(twin, 4, value);
    this.#serve();
  }

  #serve(): void {
    do while (this.#mmio.serve());
    // Asks for the next notification; there may be work already.
    while (!this.#mmio.arm());
  }
}

function functionOf(vendor: number, device: number, bars: readonly Bar[]): FakeFunction {
  const config = new DataView(new ArrayBuffer(256));
  config.setUint16(0, vendor, true);
  config.setUint16(2, device, true);
  // BARs that are ports are left alone by whoever looks for memory.
  for (const { index, size } of bars) if (size === 0) config.setUint32(0x10 + 4 * index, 1, true);
  return { config, bars };
}

/** A list as no driver likes it: other ids, types nobody knows, the window, and each structure a second time. */
function addCapabilities(config: DataView): void {
  config.setUint16(6, 0x10, true);
  let link = 0x34;
  let at = 0x40;
  const add = (id: number, type: number, offset: number): void => {
    config.setUint8(link, at);
    config.setUint8(at, id);
    config.setUint8(at + 2, 20);
    config.setUint8(at + 3, type);
    config.setUint8(at + 4, IOMMU_BAR);
    config.setUint32(at + 8, offset, true);
    config.setUint32(at + 12, 0x1000, true);
    // The distance of doorbells, in the notification structure.
    config.setUint32(at + 16, 4, true);
    link = at + 1;
    at += 20;
  };
  add(5, 1, 0x9000);
  add(9, 0x7f, 0x9000);
  add(9, 5, 0x9000);
  const pages: readonly (readonly [number, number])[] = [
    [1, Page.COMMON],
    [3, Page.ISR],
    [4, Page.CONFIG],
    [2, Page.NOTIFY],
  ];
  for (const [type, page] of pages) add(9, type, page << 12);
  add(9, 1, 0x9000);
}

function get(view: DataView, offset: number, width: number): number {
  if (width === 1) return view.getUint8(offset);
  return width === 2 ? view.getUint16(offset, true) : view.getUint32(offset, true);
}

function ok(value: number): string {
  return `OK 0x${value.toString(16).padStart(16, '0')}`;
}
