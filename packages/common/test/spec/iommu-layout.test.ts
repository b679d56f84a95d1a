/** Structures of the IOMMU device and worked examples of their bytes. */

import {
  AttachRequest,
  DetachRequest,
  FaultRecord,
  IommuConfig,
  MapRequest,
  ProbeProperty,
  ProbeRequest,
  RequestHead,
  RequestTail,
  ReservedMemory,
  UnmapRequest,
} from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { fromHex, toHex, viewOf } from '../hex.ts';
import { layoutTest } from './layout.ts';

describe('layouts', () => {
  layoutTest(IommuConfig, 'virtio_iommu_config', 40, [
    ['pageSizeMask', 0x00, 8],
    ['inputRangeStart', 0x08, 8],
    ['inputRangeEnd', 0x10, 8],
    ['domainRangeStart', 0x18, 4],
    ['domainRangeEnd', 0x1c, 4],
    ['probeSize', 0x20, 4],
    ['bypass', 0x24, 1],
    ['reserved', 0x25, 3],
  ]);
  layoutTest(RequestHead, 'virtio_iommu_req_head', 4, [
    ['type', 0, 1],
    ['reserved0', 1, 3],
  ]);
  layoutTest(RequestTail, 'virtio_iommu_req_tail', 4, [
    ['status', 0, 1],
    ['reserved', 1, 3],
  ]);
  layoutTest(AttachRequest, 'virtio_iommu_req_attach', 20, [
    ['type', 0, 1],
    ['reserved0', 1, 3],
    ['domain', 4, 4],
    ['endpoint', 8, 4],
    ['flags', 12, 4],
    ['reserved1', 16, 4],
  ]);
  layoutTest(DetachRequest, 'virtio_iommu_req_detach', 20, [
    ['type', 0, 1],
    ['reserved0', 1, 3],
    ['domain', 4, 4],
    ['endpoint', 8, 4],
    ['reserved1', 12, 8],
  ]);
  layoutTest(MapRequest, 'virtio_iommu_req_map', 36, [
    ['type', 0, 1],
    ['reserved0', 1, 3],
    ['domain', 4, 4],
    ['virtStart', 8, 8],
    ['virtEnd', 16, 8],
    ['physStart', 24, 8],
    ['flags', 32, 4],
  ]);
  layoutTest(UnmapRequest, 'virtio_iommu_req_unmap', 28, [
    ['type', 0, 1],
    ['reserved0', 1, 3],
    ['domain', 4, 4],
    ['virtStart', 8, 8],
    ['virtEnd', 16, 8],
    ['reserved1', 24, 4],
  ]);
  layoutTest(ProbeRequest, 'virtio_iommu_req_probe', 72, [
    ['type', 0, 1],
    ['reserved0', 1, 3],
    ['endpoint', 4, 4],
    ['reserved1', 8, 64],
  ]);
  layoutTest(ProbeProperty, 'virtio_iommu_probe_property', 4, [
    ['type', 0, 2],
    ['length', 2, 2],
  ]);
  layoutTest(ReservedMemory, 'virtio_iommu_probe_resv_mem', 24, [
    ['type', 0, 2],
    ['length', 2, 2],
    ['subtype', 4, 1],
    ['reserved', 5, 3],
    ['start', 8, 8],
    ['end', 16, 8],
  ]);
  layoutTest(FaultRecord, 'virtio_iommu_fault', 24, [
    ['reason', 0, 1],
    ['reserved', 1, 3],
    ['flags', 4, 4],
    ['endpoint', 8, 4],
    ['reserved1', 12, 4],
    ['address', 16, 8],
  ]);
});

describe('worked examples', () => {
  it('a configuration with granule 4096, full ranges, probe_size 64 and bypass 1', () => {
    const bytes = fromHex(`
      00 f0 ff ff ff ff ff ff  00 00 00 00 00 00 00 00
      ff ff ff ff ff ff ff ff  00 00 00 00 ff ff ff ff
      40 00 00 00 01 00 00 00`);
    const value = {
      pageSizeMask: 0xffff_ffff_ffff_f000n,
      inputRangeStart: 0n,
      inputRangeEnd: 0xffff_ffff_ffff_ffffn,
      domainRangeStart: 0,
      domainRangeEnd: 0xffff_ffff,
      probeSize: 64,
      bypass: 1,
    };
    expect(toHex(IommuConfig.encode(value))).toBe(toHex(bytes));
    expect(IommuConfig.read(viewOf(bytes))).toEqual({ ...value, reserved: new Uint8Array(3) });
  });

  it('ATTACH of endpoint 8 to domain 1', () => {
    const bytes = fromHex(`
      01 00 00 00 01 00 00 00  08 00 00 00 00 00 00 00
      00 00 00 00`);
    const value = { type: 1, domain: 1, endpoint: 8, flags: 0 };
    expect(toHex(AttachRequest.encode(value))).toBe(toHex(bytes));
    expect(AttachRequest.read(viewOf(bytes))).toEqual({
      ...value,
      reserved0: new Uint8Array(3),
      reserved1: new Uint8Array(4),
    });
  });

  it('MAP of 0x1000..0x1fff in domain 1 to 0xa000, READ and WRITE', () => {
    const bytes = fromHex(`
      03 00 00 00 01 00 00 00  00 10 00 00 00 00 00 00
      ff 1f 00 00 00 00 00 00  00 a0 00 00 00 00 00 00
      03 00 00 00`);
    const value = {
      type: 3,
      domain: 1,
      virtStart: 0x1000n,
      virtEnd: 0x1fffn,
      physStart: 0xa000n,
      flags: 3,
    };
    expect(toHex(MapRequest.encode(value))).toBe(toHex(bytes));
    expect(MapRequest.read(viewOf(bytes))).toEqual({ ...value, reserved0: new Uint8Array(3) });
  });

  it('UNMAP of 0x1000..0x1fff in domain 1', () => {
    const bytes = fromHex(`
      04 00 00 00 01 00 00 00  00 10 00 00 00 00 00 00
      ff 1f 00 00 00 00 00 00  00 00 00 00`);
    const value = { type: 4, domain: 1, virtStart: 0x1000n, virtEnd: 0x1fffn };
    expect(toHex(UnmapRequest.encode(value))).toBe(toHex(bytes));
    expect(UnmapRequest.read(viewOf(bytes))).toEqual({
      ...value,
      reserved0: new Uint8Array(3),
      reserved1: new Uint8Array(4),
    });
  });

  it('DETACH of endpoint 8 from domain 1', () => {
    const bytes = fromHex(`
      02 00 00 00 01 00 00 00  08 00 00 00 00 00 00 00
      00 00 00 00`);
    const value = { type: 2, domain: 1, endpoint: 8 };
    expect(toHex(DetachRequest.encode(value))).toBe(toHex(bytes));
    expect(DetachRequest.read(viewOf(bytes))).toEqual({
      ...value,
      reserved0: new Uint8Array(3),
      reserved1: new Uint8Array(8),
    });
  });

  it('PROBE of endpoint 8', () => {
    const bytes = fromHex(`05 00 00 00 08 00 00 00 ${'00 '.repeat(64)}`);
    expect(toHex(ProbeRequest.encode({ type: 5, endpoint: 8 }))).toBe(toHex(bytes));
    expect(ProbeRequest.read(viewOf(bytes))).toMatchObject({ type: 5, endpoint: 8 });
  });

  it('what that PROBE returns: the MSI region 0xfee00000..0xfeefffff, zeros and status OK', () => {
    const bytes = fromHex(`
      01 00 14 00 01 00 00 00  00 00 e0 fe 00 00 00 00
      ff ff ef fe 00 00 00 00  00 00 00 00 00 00 00 00
      00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
      00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
      00 00 00 00`);
    const region = { type: 1, length: 20, subtype: 1, start: 0xfee0_0000n, end: 0xfeef_ffffn };
    const written = new Uint8Array(68);
    ReservedMemory.write(new DataView(written.buffer), 0, region);
    RequestTail.write(new DataView(written.buffer), 64, { status: 0 });
    expect(toHex(written)).toBe(toHex(bytes));
    expect(ReservedMemory.read(viewOf(bytes))).toMatchObject(region);
    expect(ProbeProperty.read(viewOf(bytes), 24)).toEqual({ type: 0, length: 0 });
  });

  it('the tail of a MAP that was refused because it overlaps', () => {
    expect(RequestTail.read(viewOf(fromHex('04 00 00 00')))).toMatchObject({ status: 4 });
    expect(toHex(RequestTail.encode({ status: 4 }))).toBe('04 00 00 00');
  });

  it('the fault of endpoint 8 that wrote to 0x2010', () => {
    const bytes = fromHex(`
      02 00 00 00 02 01 00 00  08 00 00 00 00 00 00 00
      10 20 00 00 00 00 00 00`);
    const value = { reason: 2, flags: 0x102, endpoint: 8, address: 0x2010n };
    expect(toHex(FaultRecord.encode(value))).toBe(toHex(bytes));
    expect(FaultRecord.read(viewOf(bytes))).toEqual({
      ...value,
      reserved: new Uint8Array(3),
      reserved1: new Uint8Array(4),
    });
  });
});
