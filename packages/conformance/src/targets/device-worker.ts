/** The thread of a device: one after the other, each served until it is told to end. */

import { parentPort } from 'node:worker_threads';
import { assert } from '@viommu/common';
import { IommuDevice } from '@viommu/device';
import { ControlPage, HostPort, MmioDevice, type RegisterDevice } from '@viommu/transport';
import {
  ACCESS_BYTES_MAX,
  AccessGo,
  AccessRegisters,
  AccessStatus,
  Block,
  type DeviceSettings,
  RAM_WINDOW_BYTES,
  ramOf,
  windowOf,
} from './device-window.ts';
import { translatedAccess } from './translated-access.ts';

const { offset: At } = AccessRegisters;
const SLEEP_MS = 1000;

assert(parentPort !== null, 'this module is for worker threads');
parentPort.on('message', serve);

function serve({ buffer, options }: DeviceSettings): void {
  const control = new ControlPage(buffer, 0);
  const memory = ramOf(buffer);
  const device = new IommuDevice(options);
  const interruptBell = control.interruptBell(Block.IOMMU);
  const window = windowOf(buffer, Block.IOMMU);
  const mmio = new MmioDevice({ window, interruptBell, memory, device });
  const port = new HostPort({ control, devices: [mmio, accesses(buffer, device, mmio)] });
  while (!port.stopped) port.wait(SLEEP_MS);
}

/** What makes accesses, as something with registers. */
function accesses(
  buffer: SharedArrayBuffer,
  { iommu }: IommuDevice,
  mmio: MmioDevice,
): RegisterDevice {
  const memory = ramOf(buffer);
  const registers = windowOf(buffer, Block.ACCESS);
  const words = new Map<number, number>();
  const word = (offset: number): number => words.get(offset) ?? 0;
  const access = (direction: 'read' | 'write'): void => {
    const iova = BigInt(word(At.iovaLow)) | (BigInt(word(At.iovaHigh)) << 32n);
    const bytes = new Uint8Array(Math.min(word(At.length), ACCESS_BYTES_MAX));
    memory.read(RAM_WINDOW_BYTES, bytes, 0, bytes.length);
    const endpoint = word(At.endpoint);
    const outcome = translatedAccess(iommu, memory, { endpoint, direction, iova, bytes });
    memory.write(RAM_WINDOW_BYTES, bytes, 0, bytes.length);
    registers.store(At.status, outcome === 'done' ? AccessStatus.DONE : AccessStatus.REFUSED);
  };
  return {
    write(offset, width, value) {
      if (width !== 4) return;
      if (offset !== At.go) words.set(offset, value);
      else if (value === AccessGo.SYSTEM_RESET) mmio.systemReset();
      else access(value === AccessGo.READ ? 'read' : 'write');
    },
    serve: () => false,
    arm: () => true,
    suppress: () => undefined,
  };
}
