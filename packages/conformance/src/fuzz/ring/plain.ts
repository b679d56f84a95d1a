/**
 * Virtqueues as plainly as the standard has them, to compare with: what chains a driver has made available, what used
 * entries a device owes it, and who has to be notified. No speed, no caches, and nothing in common with the rings
 * that it judges.
 */

/** A buffer as a descriptor names it. */
export interface PlainBuffer {
  readonly address: bigint;
  readonly length: number;
  readonly writable: boolean;
}

/** A chain, or a list of a packed ring. */
export interface PlainChain {
  /** What goes back to the driver. */
  readonly id: number;
  /** Slots of a packed ring. */
  readonly slots: number;
  readonly buffers: readonly PlainBuffer[];
}

/** What a look at the ring finds. */
export type PlainPop = PlainChain | 'empty' | 'broken';

/** Where the three parts of a queue are. */
export interface PlainPlace {
  readonly table: number;
  readonly driver: number;
  readonly device: number;
}

export interface PlainOptions {
  readonly bytes: Uint8Array<ArrayBufferLike>;
  /** The address of the first byte. */
  readonly base: bigint;
  /** Where tables are, and what the driver calls that. */
  readonly tables: { readonly address: bigint; readonly position: number; readonly bytes: number };
  readonly size: number;
  readonly place: PlainPlace;
  readonly indirect: boolean;
  readonly eventIndex: boolean;
  /** One used entry for all chains between two publications. */
  readonly batchUsed: boolean;
  /** Index of the next chain; of packed rings its slot, and 0x8000 in laps with a wrap counter of 1. */
  readonly position: number;
  /** True if it is to begin broken. */
  readonly broken: boolean;
}

/** A device's side. */
export interface PlainDevice {
  /** As in the options; and as a transport would say it. */
  readonly position: number;
  readonly broken: boolean;
  /** True if nothing is in the device's hands, or held back. */
  readonly idle: boolean;
  pop(): PlainPop;
  /** True if a chain is there, or the ring is broken. */
  ready(): boolean;
  /** True if a device need not look at the ring again to know that there is another chain. */
  readonly seen: boolean;
  push(chain: PlainChain, written: number): void;
  /** Shows what was pushed. True if the driver has to be notified; undefined where either will do. */
  publish(): boolean | undefined;
  /** Asks for a notification of the next chain, or for none. */
  arm(): void;
  suppress(): void;
  /** True if a driver that makes so many further descriptors available would have to notify. */
  asksFor(count: number): boolean | undefined;
  /** Position and bytes of what {@link arm} may write. */
  readonly wish: readonly [position: number, bytes: number];
}

/** True if a step of an index from `before` to `now` passes `event`. */
export function splitDue(event: number, before: number, now: number): boolean {
  for (let index = before; index !== now; index = (index + 1) & 0xffff)
    if (index === event) return true;
  return false;
}

/**
 * What an event suppression structure says of `count` slots from `slot` on, in a lap with this wrap counter; undefined
 * where the standard does not say.
 */
export function packedDue(
  { desc, flags }: { readonly desc: number; readonly flags: number },
  eventIndex: boolean,
  size: number,
  from: { readonly slot: number; readonly wrap: boolean },
  count: number,
): boolean | undefined {
  const mode = flags & 3;
  if (mode === 0) return true;
  if (mode === 1) return false;
  if (mode === 3 || !eventIndex || (desc & 0x7fff) >= size) return undefined;
  let { slot, wrap } = from;
  for (let left = count; left > 0; left -= 1) {
    if (slot === (desc & 0x7fff) && wrap === desc >= 0x8000) return true;
    slot += 1;
    if (slot === size) {
      slot = 0;
      wrap = !wrap;
    }
  }
  return false;
}

/** Memory as the standard speaks of it. */
export class PlainBytes {
  readonly view: DataView;
  readonly base: bigint;
  readonly #tables: PlainOptions['tables'];

  constructor({ bytes, base, tables }: Pick<PlainOptions, 'bytes' | 'base' | 'tables'>) {
    this.#tables = tables;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.base = base;
  }

  u16(at: number): number {
    return this.view.getUint16(at, true);
  }

  u32(at: number): number {
    return this.view.getUint32(at, true);
  }

  u64(at: number): bigint {
    return this.view.getBigUint64(at, true);
  }

  put16(at: number, value: number): void {
    this.view.setUint16(at, value, true);
  }

  put32(at: number, value: number): void {
    this.view.setUint32(at, value, true);
  }

  /** The position of bytes that are all in memory, else undefined. */
  find(address: bigint, length: number): number | undefined {
    const tables = this.#tables;
    const inTables = address - tables.address;
    if (inTables >= 0n && inTables + BigInt(length) <= BigInt(tables.bytes))
      return tables.position + Number(inTables);
    const position = address - this.base;
    const end = BigInt(this.view.byteLength);
    return position >= 0n && position + BigInt(length) <= end ? Number(position) : undefined;
  }
}

/** Bytes of the writable buffers of a chain. */
export function writableBytesOf({ buffers }: Pick<PlainChain, 'buffers'>): number {
  let bytes = 0;
  for (const { length, writable } of buffers) if (writable) bytes += length;
  return bytes;
}

/** For people. */
export function printPop(plain: PlainPop): string {
  if (typeof plain === 'string') return plain;
  const buffers = plain.buffers.map(
    ({ address, length, writable }) => `0x${address.toString(16)}+${length}${writable ? 'w' : 'r'}`,
  );
  return `chain ${plain.id}: ${buffers.join(' ')}`;
}
