/** The host's thread: our device over the guest's memory, which happens to be a WebAssembly.Memory. */

import { parentPort, workerData } from 'node:worker_threads';
import { formatStatus, guestPhysical } from '@viommu/common';
import { IommuDevice } from '@viommu/device';
import { SharedMemory } from '@viommu/ring';
import { ControlPage, HostPort, MmioDevice, RegisterWindow } from '@viommu/transport';
import { CONTROL, ENDPOINT, RAM, RAM_BASE, RAM_BYTES, WINDOW } from './memory-map.ts';

const { buffer } = workerData as { buffer: SharedArrayBuffer };
const say = (text: string): void => parentPort?.postMessage(text);
const hex = (value: bigint): string => `0x${value.toString(16)}`;

const device = new IommuDevice({
  endpoints: [{ id: ENDPOINT }],
  observer: {
    attached: (domain, endpoint) => say(`attached ${endpoint} to ${domain}`),
    detached: (domain, endpoint) => say(`detached ${endpoint} from ${domain}`),
    mapped(domain, { start, last }, physStart) {
      say(`mapped ${hex(start)}-${hex(last)} to ${hex(physStart)} in ${domain}`);
    },
    unmapped: (domain, _, removed) => say(`unmapped ${removed.length} in ${domain}`),
    refused: (status, { kind }) => say(`refused ${kind}: ${formatStatus(status)}`),
  },
});
const control = new ControlPage(buffer, CONTROL);
const memory = new SharedMemory({
  buffer,
  offset: RAM,
  size: RAM_BYTES,
  base: guestPhysical(RAM_BASE),
});
const window = new RegisterWindow(buffer, WINDOW);
const interruptBell = control.interruptBell(0);
const mmio = new MmioDevice({ window, interruptBell, memory, device });
const port = new HostPort({ control, devices: [mmio] });

say('ready');
while (!port.stopped) port.wait(100);
