/** Every number of the standard that the package names, against tables written from the standard. */

import {
  AttachFlag,
  AvailableFlag,
  DescriptorFlag,
  DeviceStatus,
  EVENT_OFFSET_MASK,
  EVENT_WRAP,
  EventMode,
  FaultFlag,
  FaultReason,
  IOMMU_DEVICE_ID,
  InterruptBit,
  IommuFeature,
  IommuQueue,
  MMIO_MAGIC,
  MMIO_VERSION,
  MMIO_WINDOW_SIZE,
  MapFlag,
  MmioRegister,
  PROBE_TYPE_MASK,
  PackedFlag,
  ProbeType,
  QUEUE_SIZE_MAX,
  RequestType,
  ReservedMemoryType,
  Status,
  UsedFlag,
  VirtioFeature,
  featureMask,
  formatStatus,
  hasFeature,
} from '@viommu/common';
import { describe, expect, it } from 'vitest';

describe('the IOMMU device', () => {
  it('is device type 23 with a request queue and an event queue', () => {
    expect(IOMMU_DEVICE_ID).toBe(0x17);
    expect(IommuQueue).toEqual({ REQUEST: 0, EVENT: 1 });
  });

  it('has seven feature bits', () => {
    const masks = Object.entries(IommuFeature).map(([name, bit]) => [name, featureMask(bit)]);
    expect(Object.fromEntries(masks)).toEqual({
      INPUT_RANGE: 0x01n,
      DOMAIN_RANGE: 0x02n,
      MAP_UNMAP: 0x04n,
      BYPASS: 0x08n,
      PROBE: 0x10n,
      MMIO: 0x20n,
      BYPASS_CONFIG: 0x40n,
    });
  });

  it('has five requests and nine statuses', () => {
    expect(RequestType).toEqual({ ATTACH: 1, DETACH: 2, MAP: 3, UNMAP: 4, PROBE: 5 });
    expect(Status).toEqual({
      OK: 0,
      IOERR: 1,
      UNSUPP: 2,
      DEVERR: 3,
      INVAL: 4,
      RANGE: 5,
      NOENT: 6,
      FAULT: 7,
      NOMEM: 8,
    });
  });

  it('has the flags of ATTACH, of MAP and of faults', () => {
    expect(AttachFlag).toEqual({ BYPASS: 1 << 0 });
    expect(MapFlag).toEqual({ READ: 1 << 0, WRITE: 1 << 1, MMIO: 1 << 2 });
    expect(FaultFlag).toEqual({ READ: 1 << 0, WRITE: 1 << 1, ADDRESS: 1 << 8 });
    expect(FaultReason).toEqual({ UNKNOWN: 0, DOMAIN: 1, MAPPING: 2 });
  });

  it('has one property of PROBE, with two kinds of regions', () => {
    expect(ProbeType).toEqual({ NONE: 0, RESV_MEM: 1 });
    expect(PROBE_TYPE_MASK).toBe(0b1111_1111_1111);
    expect(ReservedMemoryType).toEqual({ RESERVED: 0, MSI: 1 });
  });
});

describe('virtio', () => {
  it('has feature bits for all devices', () => {
    expect(VirtioFeature).toEqual({
      INDIRECT_DESC: 28,
      EVENT_IDX: 29,
      VERSION_1: 32,
      ACCESS_PLATFORM: 33,
      RING_PACKED: 34,
      IN_ORDER: 35,
      ORDER_PLATFORM: 36,
      SR_IOV: 37,
      NOTIFICATION_DATA: 38,
      NOTIF_CONFIG_DATA: 39,
      RING_RESET: 40,
      ADMIN_VQ: 41,
      SUSPEND: 43,
    });
  });

  it('has the device status bits', () => {
    expect(DeviceStatus).toEqual({
      ACKNOWLEDGE: 1,
      DRIVER: 2,
      DRIVER_OK: 4,
      FEATURES_OK: 8,
      SUSPEND: 16,
      DEVICE_NEEDS_RESET: 64,
      FAILED: 128,
    });
  });

  it('has the flags and the largest size of a split ring', () => {
    expect(DescriptorFlag).toEqual({ NEXT: 1, WRITE: 2, INDIRECT: 4 });
    expect(AvailableFlag).toEqual({ NO_INTERRUPT: 1 });
    expect(UsedFlag).toEqual({ NO_NOTIFY: 1 });
    expect(QUEUE_SIZE_MAX).toBe(1 << 15);
  });

  it('has the flags and the event modes of a packed ring', () => {
    expect(PackedFlag).toEqual({ AVAIL: 1 << 7, USED: 1 << 15 });
    expect(EventMode).toEqual({ ENABLE: 0, DISABLE: 1, DESCRIPTOR: 2 });
    expect([EVENT_OFFSET_MASK, EVENT_WRAP]).toEqual([0x7fff, 1 << 15]);
  });

  it('has the registers of virtio-mmio version 2', () => {
    expect(MMIO_MAGIC).toBe(0x74726976);
    expect(MMIO_VERSION).toBe(2);
    expect(MMIO_WINDOW_SIZE).toBe(0x200);
    expect(InterruptBit).toEqual({ USED_BUFFER: 1, CONFIG_CHANGE: 2 });
    expect(MmioRegister).toEqual({
      MagicValue: 0x000,
      Version: 0x004,
      DeviceID: 0x008,
      VendorID: 0x00c,
      DeviceFeatures: 0x010,
      DeviceFeaturesSel: 0x014,
      DriverFeatures: 0x020,
      DriverFeaturesSel: 0x024,
      QueueSel: 0x030,
      QueueSizeMax: 0x034,
      QueueSize: 0x038,
      QueueReady: 0x044,
      QueueNotify: 0x050,
      InterruptStatus: 0x060,
      InterruptACK: 0x064,
      Status: 0x070,
      QueueDescLow: 0x080,
      QueueDescHigh: 0x084,
      QueueDriverLow: 0x090,
      QueueDriverHigh: 0x094,
      QueueDeviceLow: 0x0a0,
      QueueDeviceHigh: 0x0a4,
      SHMSel: 0x0ac,
      SHMLenLow: 0x0b0,
      SHMLenHigh: 0x0b4,
      SHMBaseLow: 0x0b8,
      SHMBaseHigh: 0x0bc,
      QueueReset: 0x0c0,
      ConfigGeneration: 0x0fc,
      Config: 0x100,
    });
  });
});

describe('helpers', () => {
  it('name each status, also those that do not exist', () => {
    expect(Object.values(Status).map(formatStatus)).toEqual(Object.keys(Status));
    expect(formatStatus(9)).toBe('status 9');
    expect(formatStatus(255)).toBe('status 255');
  });

  it('find each feature bit in a set of 64', () => {
    const offered = 0x101_7900_0077n; // what QEMU 7.2 offers
    const present = [0, 1, 2, 4, 5, 6, 24, 27, 28, 29, 30, 32, 40];
    const bits = Array.from({ length: 64 }, (_, bit) => bit);
    expect(bits.filter((bit) => hasFeature(offered, bit))).toEqual(present);
    expect(present.reduce((sum, bit) => sum | featureMask(bit), 0n)).toBe(offered);
  });
});
