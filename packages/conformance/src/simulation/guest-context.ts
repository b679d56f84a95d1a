/** The machine under a guest's kernel. */

import { IommuError, assert } from '@viommu/common';
import { IommuDriver } from '@viommu/driver';
import type { GuestContext, GuestEndpoint, GuestRam } from '@viommu/machine';
import { type Host, Place } from './host.ts';
import { DISK_ID, type Plan } from './plan.ts';
import type { Stage } from './stage.ts';

/** What the kernel of the guest gets: a machine whose time and whose interrupts are those of the stage. */
export function guestContext(stage: Stage, plan: Plan, host: Host, memory: GuestRam): GuestContext {
  let driver: IommuDriver | undefined;
  const clock = stage.timeline;
  const transport = host.transport(Place.IOMMU);
  const idle = (): void => {
    if (!stage.turn(stage.nowMs + 20)) stage.timeline.pass(20);
  };
  const context: GuestContext = {
    get driver() {
      assert(driver !== undefined, 'the driver is started');
      return driver;
    },
    get requestQueue() {
      return this.driver.requests;
    },
    memory,
    transport,
    endpoints: new Map(plan.disk ? [['disk', diskEndpoint(host)]] : []),
    grantTable: new Int32Array(0),
    pageStates: host.map.pageStates(host.buffer),
    args: undefined,
    clock,
    startDriver: (options = {}) => {
      const logger = { warn: (text: string) => stage.note(() => `log: ${text}`) };
      const own = { transport, memory, pages: memory, clock, logger };
      driver = IommuDriver.probe({
        ...own,
        ...options,
        ...plan.driver,
        ...(plan.idle && { idle }),
        onFault: (report) => host.ledger.told(report),
      });
      return driver;
    },
    endpoint: (name) => {
      const found = context.endpoints.get(String(name));
      if (found === undefined) throw new IommuError('ENOENT', `There is no endpoint ${name}.`);
      return found;
    },
    copyEngine: () => {
      throw new IommuError('ENOENT', 'There are no copy engines.');
    },
    log: (text) => stage.note(() => `log: ${text}`),
    report: () => undefined,
    stopped: () => false,
  };
  return context;
}

function diskEndpoint(host: Host): GuestEndpoint {
  return {
    name: 'disk',
    id: DISK_ID,
    kind: 'disk',
    backend: undefined,
    address: host.map.windowAddress(Place.DISK),
    port: host.port(Place.DISK),
    interruptBell: host.bell(Place.DISK),
    transport: () => host.transport(Place.DISK),
  };
}
