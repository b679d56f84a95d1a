/** Offsets of sections "Virtio Structure PCI Capabilities" and "Common configuration structure layout". */

import { describe, expect, it } from 'vitest';
import { PciCapability, PciCommonConfig } from '../src/spec/pci.ts';

/** Field, offset and width, as the standard has them. */
const CAPABILITY = [
  ['capVndr', 0, 1],
  ['capNext', 1, 1],
  ['capLen', 2, 1],
  ['cfgType', 3, 1],
  ['bar', 4, 1],
  ['id', 5, 1],
  ['padding', 6, 2],
  ['offset', 8, 4],
  ['length', 12, 4],
];
const COMMON = [
  ['deviceFeatureSelect', 0x00, 4],
  ['deviceFeature', 0x04, 4],
  ['driverFeatureSelect', 0x08, 4],
  ['driverFeature', 0x0c, 4],
  ['configMsixVector', 0x10, 2],
  ['numQueues', 0x12, 2],
  ['deviceStatus', 0x14, 1],
  ['configGeneration', 0x15, 1],
  ['queueSelect', 0x16, 2],
  ['queueSize', 0x18, 2],
  ['queueMsixVector', 0x1a, 2],
  ['queueEnable', 0x1c, 2],
  ['queueNotifyOff', 0x1e, 2],
  ['queueDesc', 0x20, 8],
  ['queueDriver', 0x28, 8],
  ['queueDevice', 0x30, 8],
  ['queueNotifConfigData', 0x38, 2],
  ['queueReset', 0x3a, 2],
  ['adminQueueIndex', 0x3c, 2],
  ['adminQueueNum', 0x3e, 2],
];

describe('layouts', () => {
  it.each([
    [PciCapability, CAPABILITY],
    [PciCommonConfig, COMMON],
  ])('are those of the standard', ({ fields }, table) => {
    expect(fields.map(({ name, offset, width }) => [name, offset, width])).toEqual(table);
  });
});
