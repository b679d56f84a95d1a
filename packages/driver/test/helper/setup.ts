/** A driver on a scripted device. */

import { IommuDriver, type FaultReport, type IommuDriverOptions } from '@viommu/driver';
import { type IommuError, RequestType } from '@viommu/common';
import { TestClock, TestLogger, TestPages, guestMemory } from './guest.ts';
import { type DeviceOptions, ScriptedDevice, type SeenRequest } from './scripted-device.ts';

export interface Setup {
  readonly driver: IommuDriver;
  readonly device: ScriptedDevice;
  readonly clock: TestClock;
  readonly logger: TestLogger;
  readonly pages: TestPages;
  readonly faults: FaultReport[];
  readonly driverOptions: IommuDriverOptions;
}

/** How long one idle turn takes. */
const IDLE_MS = 100;

/** Everything a driver needs, before it probes. */
export function prepare(options: DeviceOptions = {}): Omit<Setup, 'driver'> {
  const memory = guestMemory();
  const device = new ScriptedDevice(memory, options);
  const clock = new TestClock();
  const logger = new TestLogger();
  const pages = new TestPages();
  const faults: FaultReport[] = [];
  const driverOptions: IommuDriverOptions = {
    transport: device,
    memory,
    pages,
    clock,
    logger,
    onFault: (report) => faults.push(report),
    idle: () => {
      clock.nowMs += IDLE_MS;
      device.serve();
    },
  };
  return { device, clock, logger, pages, faults, driverOptions };
}

/** A driver that is live; its device's records begin here. */
export function setUp(
  options: DeviceOptions = {},
  driverOptions: Partial<IommuDriverOptions> = {},
): Setup {
  const prepared = prepare(options);
  const driver = IommuDriver.probe({ ...prepared.driverOptions, ...driverOptions });
  prepared.device.notifications = 0;
  return { ...prepared, driver };
}

/** The code that `action` fails with, or `undefined` if it does not. */
export function codeOf(action: () => unknown): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    return (error as IommuError).code ?? String(error); // Only IommuErrors have a code.
  }
}

export const { ATTACH, DETACH, MAP, UNMAP, PROBE } = RequestType;

/** The requests of one type. */
export function ofType(device: ScriptedDevice, type: number): SeenRequest[] {
  return device.seen.filter((request) => request.type === type);
}
