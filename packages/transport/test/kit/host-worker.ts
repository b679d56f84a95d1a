/** A host in a thread of its own: one fake device, served until it is told to stop. */

import { workerData } from 'node:worker_threads';
import { HostPort } from '@viommu/transport';
import { FakeDevice } from './fake-device.ts';
import { Rig } from './rig.ts';

export interface HostWorkerData {
  readonly buffer: SharedArrayBuffer;
  /** Every so many rounds the 64-bit field at 0x10 changes, its halves staying equal; 0 for never. */
  readonly changeEvery: number;
}

const { buffer, changeEvery } = workerData as HostWorkerData; // What the tests pass.
const device = new FakeDevice();
const fields = new Uint32Array(device.config.buffer);
fields[5] = fields[4] = 0;
const rig = new Rig({ device, buffer });
const host = new HostPort({ control: rig.control, devices: [rig.mmio] });
for (let round = 1; !host.stopped; round += 1) {
  if (changeEvery === 0) {
    host.wait(1000);
  } else {
    host.serve();
    if (round % changeEvery === 0) {
      fields[5] = fields[4] = round;
      rig.mmio.configChanged();
    }
  }
}
