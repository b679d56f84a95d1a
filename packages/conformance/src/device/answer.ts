/** What came back for one request. */

import { RequestTail, Status, formatStatus } from '@viommu/common';

export class Answer {
  /** The used length, as the device gave it. */
  readonly length: number;
  /** The whole writable part. */
  readonly bytes: Uint8Array;
  /** What the writable part held beforehand, every byte of it. */
  readonly fill: number;
  /** Where in the writable part the tail is expected; -1 if there is no room for one. */
  readonly tailAt: number;
  /** Packed rings only: the WRITE flag of the used descriptor. */
  readonly writeFlag: boolean | undefined;

  constructor(fields: Pick<Answer, 'length' | 'bytes' | 'fill' | 'tailAt' | 'writeFlag'>) {
    this.length = fields.length;
    this.bytes = fields.bytes;
    this.fill = fields.fill;
    this.tailAt = fields.tailAt;
    this.writeFlag = fields.writeFlag;
  }

  /** True if no writable byte changed. */
  get untouched(): boolean {
    return this.bytes.every((byte) => byte === this.fill);
  }

  /** The tail's bytes; empty if there is no room for one. */
  get tail(): Uint8Array {
    return this.tailAt < 0
      ? new Uint8Array()
      : this.bytes.subarray(this.tailAt, this.tailAt + RequestTail.size);
  }

  /** The status byte, whatever the used length says; `undefined` if nobody wrote it. */
  get status(): number | undefined {
    const status = this.tail[0];
    return status === this.fill ? undefined : status;
  }

  get ok(): boolean {
    return this.status === Status.OK;
  }

  /** As `INVAL, used length 4`. */
  toString(): string {
    const what = this.untouched
      ? 'nothing written'
      : this.status === undefined
        ? 'no status'
        : formatStatus(this.status);
    return `${what}, used length ${this.length}`;
  }
}
