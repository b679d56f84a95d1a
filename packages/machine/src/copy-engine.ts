/** The guest's side of a copy engine. */

import {
  type EndpointId,
  IommuError,
  type Iova,
  endpointId,
  highWord,
  iova,
  lowWord,
  offsetInPage,
  pageOf,
  rangeOfSize,
} from '@viommu/common';
import type { RegisterPort } from '@viommu/transport';
import {
  COPY_BYTES_MAX,
  COPY_MAGIC,
  COPY_VERSION,
  CopyRegisters,
  CopyStatus,
} from './copy-register.ts';

const { offset: At } = CopyRegisters;

/** What to copy. The addresses are those of the endpoint; the IOMMU translates them. */
export interface CopyRequest {
  readonly from: Iova;
  readonly to: Iova;
  /** Bytes. */
  readonly length: number;
}

/** How a copy ended. */
export type CopyResult =
  | { readonly ok: true; readonly copied: number }
  | {
      readonly ok: false;
      /** `fault`: the IOMMU refused the access. `unbacked`: it translated to where no memory is. */
      readonly reason: 'fault' | 'unbacked';
      readonly access: 'read' | 'write';
      /** For a fault: the first byte that could not be accessed. */
      readonly address: Iova | undefined;
      /** Bytes written before that. */
      readonly copied: number;
    };

/** One copy engine, as a guest program uses it. */
export class CopyEngine {
  /** The number by which the IOMMU knows it. */
  readonly id: EndpointId;
  readonly #port: RegisterPort;

  /** @throws {IommuError} `ENODEV` if there is no copy engine behind the port. */
  constructor(port: RegisterPort) {
    if (port.read(At.magic, 4) !== COPY_MAGIC || port.read(At.version, 4) !== COPY_VERSION)
      throw new IommuError('ENODEV', 'There is no copy engine behind these registers.');
    this.id = endpointId(port.read(At.endpoint, 4));
    this.#port = port;
  }

  /**
   * Copies `length` bytes, and returns when that is done. Up to 1 MiB is one request to the engine.
   *
   * @throws {IommuError} `EINVAL` for a length that is no count of bytes, `EOVERFLOW` for addresses beyond 64 bits,
   * `ETIMEDOUT` if the host does not answer, `EIO` if the engine answers nonsense.
   */
  copy({ from, to, length }: CopyRequest): CopyResult {
    if (!Number.isSafeInteger(length) || length < 0)
      throw new IommuError('EINVAL', `Cannot copy ${length} bytes.`);
    if (length > 0) {
      rangeOfSize(from, BigInt(length));
      rangeOfSize(to, BigInt(length));
    }
    let copied = 0;
    do {
      const bytes = Math.min(length - copied, COPY_BYTES_MAX);
      const result = this.#request(from + BigInt(copied), to + BigInt(copied), bytes, copied);
      if (!result.ok) return result;
      copied += bytes;
    } while (copied < length);
    return { ok: true, copied };
  }

  #request(from: bigint, to: bigint, length: number, before: number): CopyResult {
    this.#writeAddress(At.sourceLow, At.sourceHigh, iova(from));
    this.#writeAddress(At.targetLow, At.targetHigh, iova(to));
    this.#port.write(At.length, 4, length);
    this.#port.write(At.go, 4, 1);
    const status = this.#port.read(At.status, 4);
    const copied = before + this.#port.read(At.copied, 4);
    const address = iova(
      (BigInt(this.#port.read(At.faultHigh, 4)) << 32n) | BigInt(this.#port.read(At.faultLow, 4)),
    );
    switch (status) {
      case CopyStatus.OK:
        return { ok: true, copied };
      case CopyStatus.READ_FAULT:
        return { ok: false, reason: 'fault', access: 'read', address, copied };
      case CopyStatus.WRITE_FAULT:
        return { ok: false, reason: 'fault', access: 'write', address, copied };
      case CopyStatus.READ_UNBACKED:
        return { ok: false, reason: 'unbacked', access: 'read', address: undefined, copied };
      case CopyStatus.WRITE_UNBACKED:
        return { ok: false, reason: 'unbacked', access: 'write', address: undefined, copied };
      default:
        throw new IommuError('EIO', `The copy engine answered with status ${status}.`);
    }
  }

  #writeAddress(low: number, high: number, address: Iova): void {
    const page = pageOf(address);
    this.#port.write(low, 4, lowWord(page, offsetInPage(address)));
    this.#port.write(high, 4, highWord(page));
  }
}
