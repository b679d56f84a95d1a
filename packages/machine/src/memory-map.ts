/**
 * Where everything lies in the one shared buffer, and where the guest sees it. Nothing else in the machine knows an
 * offset.
 */

import {
  type GuestPhysical,
  IommuError,
  MMIO_WINDOW_SIZE,
  PAGE_SIZE,
  guestPhysical,
  pageOf,
} from '@viommu/common';
import { PageStates } from '@viommu/iommu';
import { SharedMemory, type SharedMemoryOptions } from '@viommu/ring';
import {
  CONTROL_BLOCKS_MAX,
  CONTROL_PAGE_SIZE,
  ControlPage,
  RegisterWindow,
} from '@viommu/transport';
import { BOOKKEEPING_SIZE, Bookkeeping } from './bookkeeping.ts';
import { GuardedMemory } from './guarded-memory.ts';
import { GuestRam } from './guest-ram.ts';

/** The guest-physical address of the first register window; one for each device, without gaps. */
export const REGISTERS_BASE: GuestPhysical = guestPhysical(0x0a00_0000n);
/** The guest-physical address of the first byte of RAM. */
export const RAM_BASE: GuestPhysical = guestPhysical(0x4000_0000n);
/** The most register devices in a machine, the IOMMU among them. */
export const DEVICES_MAX: number = CONTROL_BLOCKS_MAX;
/** The most RAM, in bytes. */
export const RAM_BYTES_MAX = 0x4000_0000;

const CONTROL_AT = 0;
const BOOKKEEPING_AT = CONTROL_AT + CONTROL_PAGE_SIZE;
const GRANTS_AT = BOOKKEEPING_AT + BOOKKEEPING_SIZE;
const GRANTS_BYTES = 8 * PAGE_SIZE;
const WINDOWS_AT = GRANTS_AT + GRANTS_BYTES;

/** One stretch of the buffer. */
export interface Region {
  readonly name: string;
  /** The first byte in the buffer. */
  readonly offset: number;
  readonly bytes: number;
  /** Where the guest sees it; `undefined` if it does not. */
  readonly address: GuestPhysical | undefined;
}

export interface MemoryMapOptions {
  /** Register devices, 1 to {@link DEVICES_MAX}. */
  readonly devices: number;
  /** RAM: a multiple of 4096, up to {@link RAM_BYTES_MAX}. */
  readonly ramBytes: number;
}

/** The plan of one machine's memory. Every thread makes its own from the same options. */
export class MemoryMap {
  /** Register devices that have a window. */
  readonly devices: number;
  readonly ramBytes: number;
  /** Bytes of the whole buffer. */
  readonly bytes: number;
  readonly #statesAt: number;
  readonly #ramAt: number;

  /** @throws {IommuError} `EINVAL` if there are too many devices or RAM is not whole pages up to its maximum. */
  constructor({ devices, ramBytes }: MemoryMapOptions) {
    if (!Number.isInteger(devices) || devices < 1 || devices > DEVICES_MAX)
      throw new IommuError(
        'EINVAL',
        `A machine has 1 to ${DEVICES_MAX} register devices, not ${devices}.`,
      );
    if (!Number.isInteger(ramBytes / PAGE_SIZE) || ramBytes <= 0 || ramBytes > RAM_BYTES_MAX)
      throw new IommuError('EINVAL', `RAM of ${ramBytes} bytes is not whole pages up to 1 GiB.`);
    this.devices = devices;
    this.ramBytes = ramBytes;
    this.#statesAt = WINDOWS_AT + wholePages(devices * MMIO_WINDOW_SIZE);
    this.#ramAt = this.#statesAt + wholePages(statesBytes(ramBytes));
    this.bytes = this.#ramAt + ramBytes;
  }

  /** A new buffer for this plan, all zeros. */
  createBuffer(): SharedArrayBuffer {
    return new SharedArrayBuffer(this.bytes);
  }

  /** The page through which host and guest wake each other. */
  controlPage(buffer: SharedArrayBuffer): ControlPage {
    return new ControlPage(buffer, CONTROL_AT);
  }

  /** The page through which the workers and their creator know about each other. */
  bookkeeping(buffer: SharedArrayBuffer): Bookkeeping {
    return new Bookkeeping(buffer, BOOKKEEPING_AT);
  }

  /** The guest's grant table. */
  grantTable(buffer: SharedArrayBuffer): Int32Array {
    return new Int32Array(buffer, GRANTS_AT, GRANTS_BYTES / 4);
  }

  /** Which pages of RAM the host may touch, if the guest is a protected one. */
  pageStates(buffer: SharedArrayBuffer): PageStates {
    const states = new Uint8Array(buffer, this.#statesAt, statesBytes(this.ramBytes));
    return new PageStates({ states, firstPage: pageOf(RAM_BASE) });
  }

  /** The register window of device number `device`, from 0. */
  window(buffer: SharedArrayBuffer, device: number): RegisterWindow {
    return new RegisterWindow(buffer, this.#windowAt(device));
  }

  /** The guest-physical address of the register window of device number `device`. */
  windowAddress(device: number): GuestPhysical {
    return guestPhysical(REGISTERS_BASE + BigInt(this.#windowAt(device) - WINDOWS_AT));
  }

  /** RAM, as the host sees it. */
  ram(buffer: SharedArrayBuffer): SharedMemory {
    return new SharedMemory(this.#ramOptions(buffer));
  }

  /** RAM, as everything in the host reaches it: without what the guest keeps to itself. */
  guardedRam(buffer: SharedArrayBuffer): GuardedMemory {
    return new GuardedMemory(this.#ramOptions(buffer), this.pageStates(buffer));
  }

  /** RAM with an allocator over all of it, for the one guest. */
  guestRam(buffer: SharedArrayBuffer): GuestRam {
    return new GuestRam(this.#ramOptions(buffer));
  }

  /** All regions in the order of the buffer. */
  regions(): Region[] {
    return [
      { name: 'control page', offset: CONTROL_AT, bytes: CONTROL_PAGE_SIZE, address: undefined },
      { name: 'bookkeeping', offset: BOOKKEEPING_AT, bytes: BOOKKEEPING_SIZE, address: undefined },
      { name: 'grant table', offset: GRANTS_AT, bytes: GRANTS_BYTES, address: undefined },
      ...Array.from({ length: this.devices }, (_, device) => ({
        name: `registers ${device}`,
        offset: this.#windowAt(device),
        bytes: MMIO_WINDOW_SIZE,
        address: this.windowAddress(device),
      })),
      {
        name: 'page states',
        offset: this.#statesAt,
        bytes: statesBytes(this.ramBytes),
        address: undefined,
      },
      { name: 'RAM', offset: this.#ramAt, bytes: this.ramBytes, address: RAM_BASE },
    ];
  }

  #ramOptions(buffer: SharedArrayBuffer): SharedMemoryOptions {
    return { buffer, offset: this.#ramAt, size: this.ramBytes, base: RAM_BASE };
  }

  #windowAt(device: number): number {
    if (!Number.isInteger(device) || device < 0 || device >= this.devices)
      throw new IommuError('EINVAL', `The machine has no device ${device}.`);
    return WINDOWS_AT + device * MMIO_WINDOW_SIZE;
  }
}

/** Bytes rounded up to whole pages. */
function wholePages(bytes: number): number {
  return Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE;
}

/** Bytes of the page states: one for each page, and one for whether they count. */
function statesBytes(ramBytes: number): number {
  return ramBytes / PAGE_SIZE + 1;
}
