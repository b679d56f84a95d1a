import { IommuError } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { buildDeviceTreeBlob, parseDeviceTreeBlob } from '../../src/firmware/device-tree-blob.ts';
import {
  SOURCE_CHARACTERS_MAX,
  parseDeviceTreeSource,
} from '../../src/firmware/device-tree-source.ts';
import { DEPTH_MAX } from '../../src/firmware/device-tree.ts';

const GRANT_EXAMPLE = `
    xen_grant_dma: xen-grant-dma-iommu {
        compatible = "xen,grant-dma";
        #iommu-cells = <1>;
    };

    virtio@3000 {
        compatible = "virtio,mmio";
        reg = <0x3000 0x100>;
        interrupts = <41>;

        /* Its back-end runs in domain 1. */
        iommus = <&xen_grant_dma 1>;
    };
`;

describe('a device tree in text', () => {
  it.each([
    ['source', (source: string) => parseDeviceTreeSource(source)],
    [
      'flattened bytes',
      (source: string) => parseDeviceTreeBlob(buildDeviceTreeBlob(parseDeviceTreeSource(source))),
    ],
  ])(
    'S0.15 has the grant IOMMU and its device as the binding shows them, from %s [E1]',
    (_, read) => {
      const tree = read(GRANT_EXAMPLE);
      const iommu = tree.find('/xen-grant-dma-iommu');
      const virtio = tree.find('/virtio@3000');
      expect(iommu?.texts('compatible')).toEqual(['xen,grant-dma']);
      expect(iommu?.cell('#iommu-cells', 0)).toBe(1);
      expect(virtio?.texts('compatible')).toEqual(['virtio,mmio']);
      expect(virtio?.cells('reg')).toEqual([0x3000, 0x100]);
      expect(virtio?.cells('interrupts')).toEqual([41]);
      expect(virtio?.cells('iommus')).toEqual([iommu?.phandle, 1]);
      expect(tree.byPhandle(iommu?.phandle ?? 0)).toBe(iommu);
    },
  );

  it('has everything that descriptions are made of', () => {
    const { root, reservations } = parseDeviceTreeSource(
      `/dts-v1/;
/memreserve/ 0x10 0;
/ {
  a: b: node@1,2 { x; };                   // two labels
  numbers = <1 0x2 010 'A' '\\n' 0xffffffff>, <>, <5UL>;
  texts = "one", "t\\"wo\\x41\\101\\\\";
  bytes = [00 aF 1234];
  mixed = "s", <1>, [ff];
  wide = /bits/ 64 <0x123456789abcdef0 1>;
  half = /bits/ 16 <0x1234 2>, /bits/ 8 <3>;
  to = <&a &{/node@1,2} &late>, &late;
  #cells,?.+_-x = <7>;
  /* a * comment **/
  late: other { phandle = <1>; };
};
/ { node@1,2 { y = <2>; }; };
&b { x = "over"; };
&{/other} { z; };
`,
    );
    const first = root.children.get('node@1,2');
    expect(reservations).toEqual([{ start: 16n, sizeBytes: 0n }]);
    expect(root.cells('numbers')).toEqual([1, 2, 8, 65, 10, 0xffff_ffff, 5]);
    expect(root.texts('texts')).toEqual(['one', 't"woAA\\']);
    expect(root.properties.get('bytes')).toEqual(Uint8Array.of(0, 0xaf, 0x12, 0x34));
    expect(root.properties.get('mixed')).toEqual(Uint8Array.of(0x73, 0, 0, 0, 0, 1, 0xff));
    expect(root.cells('wide')).toEqual([0x12345678, 0x9abcdef0, 0, 1]);
    expect(root.properties.get('half')).toEqual(Uint8Array.of(0x12, 0x34, 0, 2, 3));
    expect(root.cells('#cells,?.+_-x')).toEqual([7]);
    // The number 1 is taken.
    expect(first?.phandle).toBe(2);
    const path = Array.from('/other\0', (character) => character.charCodeAt(0));
    expect([...(root.properties.get('to') ?? [])]).toEqual(
      [[0, 0, 0, 2], [0, 0, 0, 2], [0, 0, 0, 1], path].flat(),
    );
    expect(first?.texts('x')).toEqual(['over']);
    expect(first?.cells('y')).toEqual([2]);
    expect(root.children.get('other')?.properties.has('z')).toBe(true);
    expect([...root.children.keys()]).toEqual(['node@1,2', 'other']);
  });

  it.each([
    ['/ {', 'Line 1: a name is missing.'],
    ['/ {\n  a = <1>\n}', 'Line 3: ";" is missing.'],
    ['/ { a = <1 };', 'Line 1: a number is missing.'],
    ['/ { a = <GIC_SPI>; };', 'Line 1: a number is missing.'],
    ['/ { a = <(1 + 2)>; };', 'Line 1: a number is missing.'],
    ['/ { a = <0x100000000>; };', 'Line 1: 0x100000000 does not fit 32 bits.'],
    ['/ { a = <08>; };', 'Line 1: 08 is no octal number.'],
    ['/ { a = /bits/ 12 <1>; };', 'Line 1: there are no cells of 12 bits.'],
    ['/ { a = /bits/ 8 <&b>; };', 'Line 1: a reference is a cell of 32 bits.'],
    ['/ { a = ; };', 'Line 1: a value is missing.'],
    ['/ { a = [0]; };', 'Line 1: a byte is missing.'],
    ['/ { a = "x', 'Line 1: the end of the string is missing.'],
    ['/ { a = "é"; };', 'Line 1: a string holds other characters than ASCII.'],
    ['\n/ {\n a = <&b>; };', 'Line 3: nothing is called b.'],
    ['&b { };', 'Line 1: nothing is called b.'],
    ['/ { a: x { };\n a: y { }; };', 'Line 2: a names two nodes.'],
    ['/ { /delete-node/ a; };', 'Line 1: a name is missing.'],
    ['#include "x.dtsi"', 'Line 1: "{" is missing.'],
    ['/* no end', 'Line 1: a name is missing.'],
    ['/ { a { phandle = <1>; }; b { phandle = <1>; }; };', '/a and /b have the same phandle.'],
    [`/ { ${'x'.repeat(300)}; };`, `Line 1: "${'x'.repeat(300)}" is no name in a tree.`],
  ])('refuses %j', (source, message) => {
    expect(() => parseDeviceTreeSource(source)).toThrow(
      expect.objectContaining({ code: 'EINVAL', message }),
    );
  });

  it('has no more levels and characters than a description needs', () => {
    const deep = (levels: number) => 'a {'.repeat(levels) + '};'.repeat(levels);
    expect(() => parseDeviceTreeSource(deep(DEPTH_MAX))).not.toThrow();
    const tooLarge = expect.objectContaining({ code: 'EOVERFLOW' });
    expect(() => parseDeviceTreeSource(deep(DEPTH_MAX + 1))).toThrow(tooLarge);
    expect(() => parseDeviceTreeSource(' '.repeat(SOURCE_CHARACTERS_MAX + 1))).toThrow(tooLarge);
  });

  it.each(['"', 'a', '/* ', '* ', '<', '&', ' ', '0', '\\', "'", '\n', 'a:', '[00'])(
    'takes no time over a long row of %j',
    (piece) => {
      const row = piece.repeat(60_000 / piece.length);
      const begin = performance.now();
      for (const start of ['', '/* ', '/ { a = "', '/ { a = <', '/ { a']) {
        try {
          parseDeviceTreeSource(`${start}${row}`);
        } catch (error) {
          expect(error).toBeInstanceOf(IommuError);
        }
      }
      expect(performance.now() - begin).toBeLessThan(2000);
    },
  );
});
