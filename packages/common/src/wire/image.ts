/**
 * Saved state as bytes: a header with length and checksum, then layouts one behind the other, nothing padded.
 *
 * The same state always gives the same bytes. An image may come from anywhere: whoever reads one checks all of it before
 * anything changes, and believes no count in it before the bytes that it counts are there. Decision 0012.
 */

import { IommuError } from '../error.ts';
import { crc32 } from '../record/crc32.ts';
import { type Fields, type Struct, type StructInput, type StructValue, struct } from './struct.ts';

/** What an image holds, and in which form. */
export interface ImageType {
  /** 0..65535; images of one kind never pass for another. */
  readonly kind: number;
  /** 0..65535; each version is read by those who know it. */
  readonly version: number;
}

const fields = {
  magic: 'le32',
  kind: 'le16',
  version: 'le16',
  /** Bytes in the image, the header included. */
  length: 'le32',
  /** Over everything behind the header. */
  checksum: 'le32',
} as const;
const ImageHeader: Struct<typeof fields> = struct('viommu_image', 16, fields);

/** `vIOs` as a little-endian word. */
const MAGIC = 0x734f_4976;
const BYTES_MIN = 1024;

/** Refuses a saved state. @throws {IommuError} `EINVAL`, with `reason` as the second half of a sentence. */
export function checkSaved(condition: boolean, reason: string): asserts condition {
  if (!condition) throw new IommuError('EINVAL', `A saved state cannot be used: ${reason}.`);
}

/** Puts an image together. */
export class ImageWriter {
  readonly #type: ImageType;
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(BYTES_MIN);
  #length = ImageHeader.size;

  constructor(type: ImageType) {
    this.#type = type;
  }

  /** What was added so far, without a header. Valid until something is added. */
  get content(): Uint8Array {
    return this.#bytes.subarray(ImageHeader.size, this.#length);
  }

  /** @throws {IommuError} `EOVERFLOW` if a value does not fit its field. */
  add<F extends Fields>(layout: Struct<F>, value: StructInput<F>): this {
    const at = this.#extend(layout.size);
    layout.write(new DataView(this.#bytes.buffer), at, value);
    return this;
  }

  addBytes(bytes: Uint8Array): this {
    const at = this.#extend(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }

  /** The image as fresh bytes. */
  finish(): Uint8Array<ArrayBuffer> {
    const image = this.#bytes.slice(0, this.#length);
    ImageHeader.write(new DataView(image.buffer), 0, {
      magic: MAGIC,
      ...this.#type,
      length: image.length,
      checksum: crc32(this.content),
    });
    return image;
  }

  #extend(bytes: number): number {
    const at = this.#length;
    this.#length = at + bytes;
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(2 * this.#length);
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    return at;
  }
}

/** Reads an image from its start to its end. */
export class ImageReader {
  readonly #view: DataView<ArrayBuffer>;
  #at = ImageHeader.size;

  /** @throws {IommuError} `EINVAL` for bytes that are no whole image of this type. */
  constructor(image: Uint8Array, { kind, version }: ImageType) {
    checkSaved(image.length >= ImageHeader.size, 'it is no image');
    // A copy: nobody changes it between a check and its use.
    const bytes = new Uint8Array(image.length);
    bytes.set(image);
    this.#view = new DataView(bytes.buffer);
    const header = ImageHeader.read(this.#view);
    checkSaved(header.magic === MAGIC && header.kind === kind, 'it is an image of something else');
    checkSaved(header.version === version, `its version is ${header.version}, not ${version}`);
    checkSaved(header.length === bytes.length, 'bytes are missing, or there are too many');
    const checksum = crc32(bytes.subarray(ImageHeader.size));
    checkSaved(header.checksum === checksum, 'its checksum is wrong');
  }

  /** The next structure. @throws {IommuError} `EINVAL` if the image ends before it does. */
  read<F extends Fields>(layout: Struct<F>): StructValue<F> {
    return layout.read(this.#view, this.#take(layout.size));
  }

  /** Reads as many bytes; true if they are these. */
  matches(bytes: Uint8Array): boolean {
    const found = new Uint8Array(this.#view.buffer, this.#take(bytes.length), bytes.length);
    return found.every((byte, at) => byte === bytes[at]);
  }

  /** All bytes that are left. */
  rest(): Uint8Array {
    return new Uint8Array(this.#view.buffer, this.#take(this.#view.byteLength - this.#at));
  }

  /** @throws {IommuError} `EINVAL` unless everything was read. */
  end(): void {
    checkSaved(this.#at === this.#view.byteLength, 'it has more bytes than it needs');
  }

  #take(length: number): number {
    const at = this.#at;
    checkSaved(length <= this.#view.byteLength - at, 'it ends too early');
    this.#at = at + length;
    return at;
  }
}
