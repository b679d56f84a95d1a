import {
  AttachRequest,
  FaultRecord,
  MapRequest,
  RequestTail,
  annotate,
  annotateProperties,
  annotateRequest,
} from '@viommu/common';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from '../hex.ts';

const MAP = fromHex(`
  03 00 00 00 01 00 00 00  00 10 00 00 00 00 00 00
  ff 1f 00 00 00 00 00 00  00 a0 00 00 00 00 00 00
  07 00 00 00`);

/** The bytes that a dump shows, taken from its second column; runs of zeros are written out. */
function shownBytes(lines: readonly string[]): string {
  const rows = lines.map((line) => /^[0-9a-f]{4}  (.{0,23})/.exec(line)?.[1]?.trim() ?? '');
  const zeros = (row: string): string => {
    const times = /^00, ([0-9]+) times$/.exec(row)?.[1];
    return times === undefined ? row : '00 '.repeat(Number(times)).trim();
  };
  return rows
    .map(zeros)
    .filter((row) => row !== '')
    .join(' ');
}

describe('a structure', () => {
  it('is shown field by field', () => {
    expect(annotate(MapRequest, MAP)).toEqual([
      'virtio_iommu_req_map, 36 bytes',
      '0000  03                       type              3 MAP',
      '0001  00 00 00                 reserved0         zero',
      '0004  01 00 00 00              domain            1',
      '0008  00 10 00 00 00 00 00 00  virtStart         0x1000',
      '0010  ff 1f 00 00 00 00 00 00  virtEnd           0x1fff',
      '0018  00 a0 00 00 00 00 00 00  physStart         0xa000',
      '0020  07 00 00 00              flags             READ|WRITE|MMIO',
    ]);
  });

  it('that is cut off shows what is there and what is not', () => {
    expect(annotate(AttachRequest, fromHex('01 ff 00 00 20 00 00 00 08'))).toEqual([
      'virtio_iommu_req_attach, 20 bytes',
      '0000  01                       type              1 ATTACH',
      '0001  ff 00 00                 reserved0         not zero',
      '0004  20 00 00 00              domain            32 = 0x20',
      '0008  08                       endpoint          cut: 1 of 4 bytes',
      '000c                           flags             missing',
      '0010                           reserved1         missing',
    ]);
  });

  it('with bytes behind it shows them, counted from where the structure begins', () => {
    expect(annotate(RequestTail, fromHex('09 00 00 00 01 02 03 04 05 06 07 08 09'), 0x40)).toEqual([
      'virtio_iommu_req_tail, 4 bytes',
      '0040  09                       status            9, which has no name',
      '0041  00 00 00                 reserved          zero',
      '0044  01 02 03 04 05 06 07 08  -                 9 bytes behind the structure',
      '004c  09',
    ]);
  });

  it('names reasons and flags of a fault', () => {
    const fault = FaultRecord.encode({ reason: 2, flags: 0x102, endpoint: 8, address: 0x2010n });
    const lines = annotate(FaultRecord, fault).join('\n');
    expect(lines).toMatch(/reason +2 MAPPING$/m);
    expect(lines).toMatch(/flags +WRITE\|ADDRESS$/m);
    expect(lines).toMatch(/address +0x2010$/m);
  });
});

describe('a request', () => {
  it.each([
    ['01', 'virtio_iommu_req_attach, 20 bytes'],
    ['02', 'virtio_iommu_req_detach, 20 bytes'],
    ['03', 'virtio_iommu_req_map, 36 bytes'],
    ['04', 'virtio_iommu_req_unmap, 28 bytes'],
    ['05', 'virtio_iommu_req_probe, 72 bytes'],
    ['00', 'virtio_iommu_req_head, 4 bytes'],
    ['06', 'virtio_iommu_req_head, 4 bytes'],
    ['', 'virtio_iommu_req_head, 4 bytes'],
  ])('with type byte %s is a %s', (type, title) => {
    expect(annotateRequest(fromHex(type))[0]).toBe(title);
  });

  it('of 72 bytes takes few lines', () => {
    expect(annotateRequest(fromHex(`05 00 00 00 08 00 00 00 ${'00 '.repeat(64)}`))).toEqual([
      'virtio_iommu_req_probe, 72 bytes',
      '0000  05                       type              5 PROBE',
      '0001  00 00 00                 reserved0         zero',
      '0004  08 00 00 00              endpoint          8',
      '0008  00, 64 times             reserved1         zero',
    ]);
  });
});

describe('properties', () => {
  it('are shown one after another, up to the end of the list', () => {
    const lines = annotateProperties(
      fromHex(`
        01 00 14 00 01 00 00 00  00 00 e0 fe 00 00 00 00
        ff ff ef fe 00 00 00 00  02 00 01 00 ee 00 00 00
        00 00 00 00 00 00 00 00`),
    );
    expect(lines).toEqual([
      'virtio_iommu_probe_resv_mem, 24 bytes',
      '0000  01 00                    type              1 RESV_MEM',
      '0002  14 00                    length            20 = 0x14',
      '0004  01                       subtype           1 MSI',
      '0005  00 00 00                 reserved          zero',
      '0008  00 00 e0 fe 00 00 00 00  start             0xfee00000',
      '0010  ff ff ef fe 00 00 00 00  end               0xfeefffff',
      'virtio_iommu_probe_property, 4 bytes',
      '0018  02 00                    type              2, which has no name',
      '001a  01 00                    length            1',
      '001c  ee                       -                 1 bytes behind the structure',
      'end of the properties, 11 bytes',
      '001d  00, 11 times             -                 zero',
    ]);
  });

  it('with a reserved bit in the type are no region, and none run past the area', () => {
    const lines = annotateProperties(fromHex('01 10 ff ff 01 02'));
    expect(lines).toEqual([
      'virtio_iommu_probe_property, 4 bytes',
      '0000  01 10                    type              4097, which has no name',
      '0002  ff ff                    length            65535 = 0xffff',
      '0004  01 02                    -                 2 bytes behind the structure',
    ]);
  });
});

describe('any bytes', () => {
  it('are all shown, once and in order', () => {
    const small = fc.uint8Array({ maxLength: 90, max: 6 });
    const bytes = fc.oneof(small, fc.uint8Array({ maxLength: 90 }));
    fc.assert(
      fc.property(bytes, (buffer) => {
        expect(shownBytes(annotateRequest(buffer))).toBe(toHex(buffer));
        expect(shownBytes(annotateProperties(buffer))).toBe(toHex(buffer));
      }),
      { seed: 5, numRuns: 500 },
    );
  });

  it('may lie in shared memory', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(MAP.length));
    shared.set(MAP);
    expect(annotateRequest(shared)).toEqual(annotateRequest(MAP));
    expect(annotateProperties(shared.subarray(0, 4))).toHaveLength(3);
  });
});
