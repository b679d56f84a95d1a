/** A device type for tests: returns every byte plus one, and writes down what the transport does to it. */

import { Chain, type DeviceQueue, Popped } from '@viommu/ring';
import type { DevicePort, VirtioDevice, VirtioSession } from '@viommu/transport';
import { BYPASS_CONFIG, EVENT_IDX, INDIRECT, RING_RESET, VERSION_1 } from './register.ts';

const BYPASS_AT = 0x24;

export class FakeDevice implements VirtioDevice {
  readonly deviceId = 23;
  offeredFeatures: bigint = VERSION_1 | EVENT_IDX | INDIRECT | RING_RESET | BYPASS_CONFIG | 0x17n;
  queueSizesMax: readonly number[] = [16, 8];
  config: Uint8Array = new Uint8Array(40);
  /** Features the device itself does not agree to. */
  unacceptable = 0n;
  accepted: bigint | undefined = undefined;
  session: VirtioSession | undefined = undefined;
  port: DevicePort | undefined = undefined;
  queues: (DeviceQueue | undefined)[] = [];
  readonly log: string[] = [];
  armed = 0;
  suppressed = 0;

  constructor() {
    const view = new DataView(this.config.buffer);
    view.setBigUint64(0, 0xffff_ffff_ffff_f000n, true);
    view.setBigUint64(0x10, 0xffff_ffff_ffff_ffffn, true);
    view.setUint32(0x1c, 0xffff_ffff, true);
    view.setUint32(0x20, 64, true);
    this.config[BYPASS_AT] = 1;
  }

  writeConfig(offset: number, width: number, value: number): boolean {
    this.log.push(`writeConfig ${offset} ${width} ${value}`);
    if (offset !== BYPASS_AT || width !== 1 || value > 1) return false;
    if (((this.accepted ?? 0n) & BYPASS_CONFIG) === 0n) return false;
    this.config[BYPASS_AT] = value;
    return true;
  }

  acceptFeatures(features: bigint): boolean {
    this.log.push(`acceptFeatures 0x${features.toString(16)}`);
    if ((features & this.unacceptable) !== 0n) return false;
    this.accepted = features;
    return true;
  }

  start(session: VirtioSession): void {
    this.log.push('start');
    this.session = session;
    this.port = session.port;
    this.queues = [...session.queues];
  }

  queueStopped(index: number): void {
    this.log.push(`queueStopped ${index}`);
    this.queues[index] = undefined;
  }

  queueStarted(index: number, queue: DeviceQueue): void {
    this.log.push(`queueStarted ${index}`);
    this.queues[index] = queue;
  }

  reset(): void {
    this.log.push('reset');
    this.accepted = undefined;
    this.session = undefined;
    this.queues = [];
  }

  systemReset(): void {
    this.log.push('systemReset');
    this.config[BYPASS_AT] = 1;
  }

  serve(): boolean {
    let worked = false;
    for (const [index, queue] of this.queues.entries()) {
      if (queue !== undefined && this.#serveQueue(index, queue)) worked = true;
    }
    return worked;
  }

  arm(): boolean {
    this.armed += 1;
    return this.queues.every((queue) => queue?.armNotification() ?? true);
  }

  suppress(): void {
    this.suppressed += 1;
    for (const queue of this.queues) queue?.suppressNotification();
  }

  #serveQueue(index: number, queue: DeviceQueue): boolean {
    const { session } = this;
    if (session === undefined) return false;
    const chain = new Chain(session.memory, queue.size);
    let taken = 0;
    for (; taken < queue.size; taken += 1) {
      const popped = queue.pop(chain);
      if (popped === Popped.BROKEN) {
        session.port.needsReset(queue.fault ?? 'no fault');
        return true;
      }
      if (popped === Popped.EMPTY) break;
      const bytes = new Uint8Array(chain.readableBytes);
      chain.read(0, bytes, 0, bytes.length);
      const written = chain.write(
        0,
        bytes.map((byte) => byte + 1),
        0,
        bytes.length,
      );
      queue.push(chain, written);
    }
    if (queue.publish()) session.port.interrupt(index);
    return taken > 0;
  }
}
