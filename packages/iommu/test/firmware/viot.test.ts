import fc from 'fast-check';
import { IommuError } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { type ViotIommu, type ViotNode, buildViot, parseViot } from '../../src/firmware/viot.ts';

const mmio: ViotIommu = { type: 'mmioIommu', baseAddress: 0x1_0a00_3e00n };
const pci: ViotIommu = { type: 'pciIommu', segment: 0x0102, bdf: 0x0310 };

/** Makes the checksum right again. */
function sealed(bytes: Uint8Array): Uint8Array {
  bytes[9] = 0;
  bytes[9] = (256 - bytes.reduce((sum, byte) => (sum + byte) % 256, 0)) % 256;
  return bytes;
}

function changed(nodes: readonly ViotNode[], change: (view: DataView) => void): Uint8Array {
  const bytes = buildViot(nodes);
  change(new DataView(bytes.buffer));
  return sealed(bytes);
}

const codes = (bytes: Uint8Array) => parseViot(bytes).problems.map(({ code }) => code);

describe('the VIOT table', () => {
  it('has these bytes for an MMIO endpoint and an MMIO IOMMU [F6]', () => {
    const bytes = buildViot([
      { type: 'mmioEndpoint', endpoint: 7, baseAddress: 0x0a00_3c00n, output: mmio },
      mmio,
    ]);
    expect(bytes).toHaveLength(88);
    expect(bytes.reduce((sum, byte) => (sum + byte) % 256, 0)).toBe(0);
    const text = (characters: string) => Array.from(characters, (c) => c.charCodeAt(0));
    const rows = [
      text('VIOT'),
      [88, 0, 0, 0, 0, bytes[9]],
      text('VIOMMUVIOMMU\0\0'),
      [1, 0, 0, 0],
      text('VIOM'),
      [1, 0, 0, 0],
      [2, 0, 48, 0, 0, 0, 0, 0, 0, 0, 0, 0],
      [2, 0, 24, 0, 7, 0, 0, 0, 0x00, 0x3c, 0x00, 0x0a, 0, 0, 0, 0, 72, 0, 0, 0, 0, 0, 0, 0],
      [4, 0, 16, 0, 0, 0, 0, 0, 0x00, 0x3e, 0x00, 0x0a, 1, 0, 0, 0],
    ];
    expect([...bytes]).toEqual(rows.flat());
  });

  it('has these bytes for a range of PCI functions and a PCI IOMMU', () => {
    const bytes = buildViot([
      pci,
      {
        type: 'pciRange',
        endpointStart: 0x01020304,
        segmentStart: 0x0506,
        segmentEnd: 0x0708,
        bdfStart: 0x090a,
        bdfEnd: 0x0b0c,
        output: pci,
      },
    ]);
    const rows = [
      [3, 0, 16, 0, 0x02, 0x01, 0x10, 0x03, 0, 0, 0, 0, 0, 0, 0, 0],
      [1, 0, 24, 0, 4, 3, 2, 1, 6, 5, 8, 7, 0x0a, 0x09, 0x0c, 0x0b, 48, 0, 0, 0, 0, 0, 0, 0],
    ];
    expect(Array.from(bytes.slice(48))).toEqual(rows.flat());
  });

  it('comes back as the nodes it was made of', () => {
    const u16 = fc.nat({ max: 0xffff });
    const u32 = fc.nat({ max: 0xffff_ffff });
    const baseAddress = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
    const iommu = fc.oneof(
      fc.record({ type: fc.constant('pciIommu' as const), segment: u16, bdf: u16 }),
      fc.record({ type: fc.constant('mmioIommu' as const), baseAddress }),
    );
    const nodes = fc.array(iommu, { minLength: 1, maxLength: 4 }).chain((iommus) => {
      const output = fc.constantFrom(...iommus);
      const endpoint = fc.oneof(
        fc.record({
          type: fc.constant('pciRange' as const),
          endpointStart: u32,
          segmentStart: u16,
          segmentEnd: u16,
          bdfStart: u16,
          bdfEnd: u16,
          output,
        }),
        fc.record({
          type: fc.constant('mmioEndpoint' as const),
          endpoint: u32,
          baseAddress,
          output,
        }),
      );
      return fc.array(endpoint, { maxLength: 6 }).chain((endpoints) =>
        fc.shuffledSubarray([...iommus, ...endpoints], {
          minLength: iommus.length + endpoints.length,
        }),
      );
    });
    fc.assert(
      fc.property(nodes, (all: ViotNode[]) => {
        const { nodes: back, problems } = parseViot(buildViot(all));
        expect(problems).toEqual([]);
        expect(back).toEqual(all);
        // The references are to the table's own nodes.
        for (const node of back) if ('output' in node) expect(back).toContain(node.output);
      }),
      { seed: 20_260_406, numRuns: 200 },
    );
  });

  const endpoint: ViotNode = { type: 'mmioEndpoint', endpoint: 1, baseAddress: 1n, output: mmio };

  it.each<[string, (view: DataView) => void, number, string[]]>([
    [
      'an endpoint whose IOMMU lies past the end',
      (view) => view.setUint16(48 + 16, 200, true),
      1,
      ['ENODEV'],
    ],
    [
      'an endpoint whose IOMMU is an endpoint',
      (view) => view.setUint16(48 + 16, 48, true),
      1,
      ['ENODEV'],
    ],
    [
      'an endpoint whose IOMMU is the middle of one',
      (view) => view.setUint16(48 + 16, 76, true),
      1,
      ['ENODEV'],
    ],
    [
      'a node of length 0 after the first',
      (view) => view.setUint16(72 + 2, 0, true),
      0,
      ['EINVAL', 'ENODEV'],
    ],
    [
      'a node too short for its type',
      (view) => view.setUint16(72 + 2, 15, true),
      0,
      ['EINVAL', 'ENODEV'],
    ],
    [
      'a node that goes on behind the end',
      (view) => view.setUint16(72 + 2, 17, true),
      0,
      ['EOVERFLOW', 'ENODEV'],
    ],
    ['more nodes than bytes', (view) => view.setUint16(36, 3, true), 2, ['EOVERFLOW']],
    ['nodes in its header', (view) => view.setUint16(38, 44, true), 0, ['EOVERFLOW']],
    ['nodes behind its end', (view) => view.setUint16(38, 90, true), 0, ['EOVERFLOW']],
    ['an unknown type', (view) => view.setUint8(48, 9), 1, []],
    ['fewer nodes than bytes', (view) => view.setUint16(36, 0, true), 0, []],
  ])('keeps what it can of %s [F7]', (_, change, kept, problems) => {
    const bytes = changed([endpoint, mmio], change);
    expect(parseViot(bytes).nodes).toHaveLength(kept);
    expect(codes(bytes)).toEqual(problems);
  });

  it('keeps what was read before a node of length 0 [F7]', () => {
    const bytes = changed([mmio, endpoint, endpoint], (view) => view.setUint16(88 + 2, 0, true));
    expect(parseViot(bytes).nodes).toEqual([mmio, endpoint]);
    expect(codes(bytes)).toEqual(['EINVAL']);
  });

  it.each<[string, (bytes: Uint8Array) => Uint8Array]>([
    ['another checksum', (bytes) => bytes.with(9, ((bytes[9] ?? 0) + 1) % 256)],
    ['another name', (bytes) => sealed(bytes.with(3, 0x53))],
    ['a length past its end', (bytes) => sealed(bytes.with(4, bytes.length + 1))],
    ['a length inside its header', (bytes) => sealed(bytes.with(4, 47))],
    ['half a header', (bytes) => bytes.slice(0, 47)],
  ])('is not believed with %s [F7]', (_, change) => {
    const bytes = change(buildViot([mmio]));
    expect(() => parseViot(bytes)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });

  it('may be followed by other bytes', () => {
    const bytes = buildViot([mmio]);
    const longer = new Uint8Array(bytes.length + 3).fill(0xff);
    longer.set(bytes);
    expect(parseViot(longer).nodes).toEqual([mmio]);
  });

  it('is not built if an IOMMU is missing, or a value does not fit', () => {
    expect(() => buildViot([endpoint])).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(() => buildViot([{ ...pci, segment: 0x10000 }])).toThrow(
      expect.objectContaining({ code: 'EOVERFLOW' }),
    );
    const many = Array.from({ length: 4096 }, () => pci);
    expect(() => buildViot([...many, mmio, endpoint])).toThrow(
      expect.objectContaining({ code: 'EOVERFLOW' }),
    );
  });

  it('never does worse than be refused, whatever its bytes', () => {
    const good = buildViot([endpoint, mmio, pci]);
    const edit = fc.tuple(fc.integer({ min: 36, max: good.length - 1 }), fc.nat({ max: 255 }));
    fc.assert(
      fc.property(fc.array(edit, { maxLength: 6 }), (edits) => {
        const bytes = good.slice();
        for (const [at, byte] of edits) bytes[at] = byte;
        const { nodes, problems } = parseViot(sealed(bytes));
        expect(nodes.length).toBeLessThanOrEqual(32);
        for (const problem of problems) expect(problem).toBeInstanceOf(IommuError);
      }),
      { seed: 20_260_407, numRuns: 500 },
    );
  });
});
