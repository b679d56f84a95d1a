/** A PC's PCI bus as firmware sees it: configuration space through ports, addresses for BARs, the walk of capabilities. */

import { IommuError } from '@viommu/common';
import { PCI_STATUS_CAPABILITIES, PciCommand, PciConfig } from '../spec/pci.ts';
import type { Qtest, Width } from './qtest.ts';

const ADDRESS_PORT = 0xcf8;
const DATA_PORT = 0xcfc;
const ENABLE = 0x8000_0000;

const DEVICES = 32;
const BARS = 6;
const NO_VENDOR = 0xffff;
/** Where BARs are put: nothing else of a q35 machine lies there. */
const BAR_AREA = 0xe000_0000n;
const BAR_AREA_END = 0xf000_0000n;
/** What a BAR says in its low bits. */
const BarBit = { IO: 1, WIDE: 4 } as const;
/** Capabilities in 256 bytes, none shorter than 4: a longer list is a loop. */
const CAPABILITIES_MAX = 48;

/** One function that answers. Bus 0, function 0. */
export interface PciFunction {
  /** 0..31. */
  readonly device: number;
  readonly vendorId: number;
  readonly deviceId: number;
}

/** Bus 0 of a machine. */
export class PciBus {
  readonly #qtest: Qtest;
  #free: bigint = BAR_AREA;

  constructor(qtest: Qtest) {
    this.#qtest = qtest;
  }

  /** The functions number 0 that are there. */
  scan(): PciFunction[] {
    const found: PciFunction[] = [];
    for (let device = 0; device < DEVICES; device += 1) {
      const ids = this.read(device, PciConfig.VENDOR_ID, 4);
      if ((ids & 0xffff) !== NO_VENDOR)
        found.push({ device, vendorId: ids & 0xffff, deviceId: ids >>> 16 });
    }
    return found;
  }

  /** Reads a field of configuration space, at its natural alignment. */
  read(device: number, offset: number, width: Width): number {
    this.#select(device, offset);
    return this.#qtest.readPort(DATA_PORT + (offset & 3), width);
  }

  /** Writes a field of configuration space, at its natural alignment. */
  write(device: number, offset: number, width: Width, value: number): void {
    this.#select(device, offset);
    this.#qtest.writePort(DATA_PORT + (offset & 3), width, value);
  }

  /**
   * Gives every memory BAR of a device an address and lets the device decode and be bus master. Returns the addresses by
   * BAR; BARs that do not exist or are ports have none.
   *
   * @throws {IommuError} `ENOSPC` if there is no room.
   */
  enable(device: number): ReadonlyMap<number, bigint> {
    const addresses = new Map<number, bigint>();
    for (let bar = 0; bar < BARS; bar += 1) {
      const offset = PciConfig.BAR_0 + 4 * bar;
      this.write(device, offset, 4, 0xffff_ffff);
      const answer = this.read(device, offset, 4);
      if (answer === 0 || (answer & BarBit.IO) !== 0) continue;
      const size = BigInt((~(answer & 0xffff_fff0) >>> 0) + 1);
      addresses.set(bar, this.#place(size));
      this.write(device, offset, 4, Number(this.#free - size));
      if ((answer & BarBit.WIDE) === 0) continue;
      bar += 1;
      this.write(device, offset + 4, 4, 0);
    }
    this.write(device, PciConfig.COMMAND, 2, PciCommand.MEMORY | PciCommand.BUS_MASTER);
    return addresses;
  }

  /** Where the capabilities of a device with this id begin in configuration space, in their order. */
  capabilities(device: number, id: number): number[] {
    const found: number[] = [];
    const status = this.read(device, PciConfig.STATUS, 2);
    if ((status & PCI_STATUS_CAPABILITIES) === 0) return found;
    let at = this.read(device, PciConfig.CAPABILITIES, 1) & 0xfc;
    for (let count = 0; at !== 0; count += 1) {
      if (count === CAPABILITIES_MAX)
        throw new IommuError('EIO', 'The list of capabilities has no end.');
      const head = this.read(device, at, 2);
      if ((head & 0xff) === id) found.push(at);
      at = (head >>> 8) & 0xfc;
    }
    return found;
  }

  /** Aligned to its own size, which is a power of two. */
  #place(size: bigint): bigint {
    const address = (this.#free + size - 1n) & ~(size - 1n);
    if (address + size > BAR_AREA_END)
      throw new IommuError('ENOSPC', 'There is no room for another BAR.');
    this.#free = address + size;
    return address;
  }

  #select(device: number, offset: number): void {
    this.#qtest.writePort(ADDRESS_PORT, 4, (ENABLE | (device << 11) | (offset & 0xfc)) >>> 0);
  }
}
