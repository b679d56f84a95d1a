/**
 * The host's side of a copy engine: an endpoint that moves memory from one IOVA to another.
 *
 * It knows guest memory only by what translation returns, and uses that before the call ends: an address never
 * outlives its mapping. What it reads is in a private buffer before it writes.
 */

import { MapFlag, PAGE_MAX, PAGE_SIZE, highWord, lowWord, pageOfWords } from '@viommu/common';
import { PieceKind, TranslateOutcome, Translation } from '@viommu/device';
import {
  COPY_BYTES_MAX,
  COPY_MAGIC,
  COPY_VERSION,
  CopyRegisters,
  CopyStatus,
} from './copy-register.ts';
import type { HostContext, HostEndpoint } from './host.ts';
import { HostCounter } from './statistics.ts';

const { offset: At } = CopyRegisters;

/** Bytes of one access; a larger copy is several. */
const CHUNK_BYTES = 1 << 16;

export class CopyDevice implements HostEndpoint {
  readonly #host: HostContext;
  readonly #id: number;
  readonly #counters: Float64Array;
  readonly #translation: Translation = new Translation();
  readonly #bytes: Uint8Array = new Uint8Array(CHUNK_BYTES);
  readonly #view: DataView = new DataView(this.#bytes.buffer);
  #sourceLow = 0;
  #sourceHigh = 0;
  #targetLow = 0;
  #targetHigh = 0;
  #length = 0;
  #copied = 0;

  /** `id` is the endpoint's number; `counters` are those of the host. */
  constructor(host: HostContext, id: number, counters: Float64Array) {
    this.#host = host;
    this.#id = id;
    this.#counters = counters;
    host.registers.store(At.magic, COPY_MAGIC);
    host.registers.store(At.version, COPY_VERSION);
    host.registers.store(At.endpoint, id);
  }

  write(offset: number, width: number, value: number): void {
    if (width !== 4) return;
    switch (offset) {
      case At.sourceLow:
        this.#sourceLow = value;
        return;
      case At.sourceHigh:
        this.#sourceHigh = value;
        return;
      case At.targetLow:
        this.#targetLow = value;
        return;
      case At.targetHigh:
        this.#targetHigh = value;
        return;
      case At.length:
        this.#length = value;
        return;
      case At.go:
        this.#go();
        return;
      default:
      // All others are read only.
    }
  }

  #go(): void {
    const { registers } = this.#host;
    this.#copied = 0;
    const status = this.#length > COPY_BYTES_MAX ? CopyStatus.TOO_LONG : this.#copy();
    registers.store(At.copied, this.#copied);
    const fault = status === CopyStatus.READ_FAULT || status === CopyStatus.WRITE_FAULT;
    const { faultPage, faultOffset } = this.#translation;
    registers.store(At.faultLow, fault ? lowWord(faultPage, faultOffset) : 0);
    registers.store(At.faultHigh, fault ? highWord(faultPage) : 0);
    // Last: who sees the status sees the rest.
    registers.store(At.status, status);
    this.#counters[HostCounter.COPIES]! += 1; // The cells are there.
    this.#counters[HostCounter.COPIED_BYTES]! += this.#copied; // Likewise.
  }

  #copy(): number {
    // An access that leaves 64 bits is refused as a whole, and reported with its first address.
    if (leavesAddresses(this.#sourceLow, this.#sourceHigh, this.#length)) {
      this.#translate(this.#sourceLow, this.#sourceHigh, this.#length, MapFlag.READ);
      return CopyStatus.READ_FAULT;
    }
    if (leavesAddresses(this.#targetLow, this.#targetHigh, this.#length)) {
      this.#translate(this.#targetLow, this.#targetHigh, this.#length, MapFlag.WRITE);
      return CopyStatus.WRITE_FAULT;
    }
    while (this.#copied < this.#length) {
      const bytes = Math.min(CHUNK_BYTES, this.#length - this.#copied);
      if (!this.#translate(this.#sourceLow, this.#sourceHigh, bytes, MapFlag.READ))
        return CopyStatus.READ_FAULT;
      if (!this.#gather()) return CopyStatus.READ_UNBACKED;
      if (!this.#translate(this.#targetLow, this.#targetHigh, bytes, MapFlag.WRITE))
        return CopyStatus.WRITE_FAULT;
      if (!this.#scatter()) return CopyStatus.WRITE_UNBACKED;
      this.#copied += bytes;
    }
    return CopyStatus.OK;
  }

  /** Translates the next `bytes` bytes of the source or the target. */
  #translate(low: number, high: number, bytes: number, access: number): boolean {
    const offset = (low & (PAGE_SIZE - 1)) + this.#copied;
    const page = pageOfWords(low, high) + Math.floor(offset / PAGE_SIZE);
    const translation = this.#translation;
    const { iommu } = this.#host;
    return (
      iommu.translate(this.#id, page, offset % PAGE_SIZE, bytes, access, translation) ===
      TranslateOutcome.OK
    );
  }

  #gather(): boolean {
    const { memory } = this.#host;
    const { count, length } = this.#translation;
    let at = 0;
    for (let piece = 0; piece < count; piece += 1) {
      const bytes = length[piece]!; // Below the count.
      const position = this.#locate(piece);
      if (position < 0) return false;
      memory.read(position, this.#bytes, at, bytes);
      at += bytes;
    }
    return true;
  }

  #scatter(): boolean {
    const { memory } = this.#host;
    const { count, length, kind } = this.#translation;
    let at = 0;
    for (let piece = 0; piece < count; piece += 1) {
      const bytes = length[piece]!; // Below the count.
      if (kind[piece] === PieceKind.MSI) {
        // A message is one word; what is shorter or longer is none.
        if (bytes === 4)
          this.#host.interruptMessage(
            this.#id,
            this.#translation.address(piece),
            this.#view.getUint32(at, true),
          );
      } else {
        const position = this.#locate(piece);
        if (position < 0) return false;
        memory.write(position, this.#bytes, at, bytes);
      }
      at += bytes;
    }
    return true;
  }

  #locate(piece: number): number {
    const { physPage, physOffset, length } = this.#translation;
    const page = physPage[piece]!; // Below the count.
    const bytes = length[piece]!; // Likewise.
    return this.#host.memory.locate(lowWord(page, physOffset[piece]!), highWord(page), bytes); // Likewise.
  }
}

/** True if the last of `bytes` bytes lies beyond 2^64 - 1. */
function leavesAddresses(low: number, high: number, bytes: number): boolean {
  const last = (low & (PAGE_SIZE - 1)) + bytes - 1;
  return pageOfWords(low, high) + Math.floor(last / PAGE_SIZE) > PAGE_MAX;
}
