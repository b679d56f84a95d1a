/** A well-behaved set of registers for driver tests, whose answers a test can bend; it writes down every access. */

import { type Doorbells, MmioTransport, type RegisterPort } from '@viommu/transport';
import { Bell } from '@viommu/ring';
import { R, VERSION_1 } from './register.ts';

export interface Access {
  readonly kind: 'read' | 'write';
  readonly offset: number;
  readonly width: number;
  readonly value: number;
}

export class ScriptedRegisters implements RegisterPort, Doorbells {
  readonly log: Access[] = [];
  readonly rung: (readonly [queue: number, data: number])[] = [];
  offered = VERSION_1;
  accepted = 0n;
  status = 0;
  queueSizeMax = 8;
  interruptStatus = 0;
  magic = 0x7472_6976;
  version = 2;
  deviceId = 23;
  generation = 0;
  readonly config: DataView = new DataView(new ArrayBuffer(0x1000));
  /** QueueReady by queue. */
  readonly ready = new Map<number, number>();
  /** The writes that nobody waited for. */
  readonly posts: (readonly [offset: number, value: number])[] = [];
  /** Looks at a read before it is answered; a number is the answer. */
  onRead: (offset: number) => number | undefined = () => undefined;
  /** Looks at a write; true if nothing else shall happen. */
  onWrite: (offset: number, value: number) => boolean = () => false;
  #deviceSelector = 0;
  #driverSelector = 0;
  #queueSelector = 0;

  read(offset: number, width: number): number {
    const value = this.onRead(offset) ?? this.#answer(offset, width);
    this.log.push({ kind: 'read', offset, width, value });
    return value;
  }

  write(offset: number, width: number, value: number): void {
    this.log.push({ kind: 'write', offset, width, value });
    if (this.onWrite(offset, value)) return;
    if (offset === R.status) this.status = value;
    if (offset === R.status && value === 0) this.ready.clear();
    if (offset === R.deviceFeaturesSel) this.#deviceSelector = value;
    if (offset === R.driverFeaturesSel) this.#driverSelector = value;
    if (offset === R.queueSel) this.#queueSelector = value;
    if (offset === R.queueReady) this.ready.set(this.#queueSelector, value);
    if (offset === R.queueReset) this.ready.set(this.#queueSelector, 0);
    if (offset === R.interruptAck) this.interruptStatus &= ~value;
    if (offset === R.driverFeatures) {
      const shift = BigInt(32 * this.#driverSelector);
      this.accepted = (this.accepted & ~(0xffff_ffffn << shift)) | (BigInt(value) << shift);
    }
  }

  post(offset: number, width: number, value: number): void {
    this.posts.push([offset, value]);
    this.write(offset, width, value);
  }

  ring(queue: number, data: number): void {
    this.rung.push([queue, data]);
  }

  transport(): MmioTransport {
    const words = new Int32Array(new SharedArrayBuffer(4));
    return new MmioTransport({ port: this, doorbells: this, interruptBell: new Bell(words, 0) });
  }

  /** All values written to a register, in order. */
  written(register: number): number[] {
    return this.log
      .filter(({ kind, offset }) => kind === 'write' && offset === register)
      .map(({ value }) => value);
  }

  /** The log as `r 070` and `w 070=3`, from entry `from` on. */
  lines(from = 0): string[] {
    return this.log.slice(from).map(({ kind, offset, value }) => {
      const name = offset.toString(16).padStart(3, '0');
      return kind === 'read' ? `r ${name}` : `w ${name}=${value.toString(16)}`;
    });
  }

  #answer(offset: number, width: number): number {
    if (offset >= R.config) {
      const at = offset - R.config;
      if (width === 1) return this.config.getUint8(at);
      return width === 2 ? this.config.getUint16(at, true) : this.config.getUint32(at, true);
    }
    switch (offset) {
      case R.magic:
        return this.magic;
      case R.version:
        return this.version;
      case R.deviceId:
        return this.deviceId;
      case R.deviceFeatures:
        return Number((this.offered >> BigInt(32 * this.#deviceSelector)) & 0xffff_ffffn);
      case R.queueSizeMax:
        return this.queueSizeMax;
      case R.queueReady:
        return this.ready.get(this.#queueSelector) ?? 0;
      case R.interruptStatus:
        return this.interruptStatus;
      case R.status:
        return this.status;
      case R.generation:
        return this.generation;
      default:
        return 0;
    }
  }
}
