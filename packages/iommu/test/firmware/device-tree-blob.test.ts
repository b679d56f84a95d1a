import fc from 'fast-check';
import { IommuError } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import {
  BLOB_BYTES_MAX,
  buildDeviceTreeBlob,
  parseDeviceTreeBlob,
} from '../../src/firmware/device-tree-blob.ts';
import { DeviceTree, DeviceTreeNode } from '../../src/firmware/device-tree.ts';

/** Byte positions of the header, from the specification. */
const AT = {
  magic: 0,
  totalSize: 4,
  structureOffset: 8,
  stringsOffset: 12,
  reservationsOffset: 16,
  version: 20,
  lastCompatibleVersion: 24,
  bootCpu: 28,
  stringsSize: 32,
  structureSize: 36,
};

/** A tree as plain values, which compare. */
const plain = (node: DeviceTreeNode): unknown => ({
  name: node.name,
  properties: [...node.properties],
  children: [...node.children.values()].map(plain),
});

function sample(): DeviceTree {
  const root = new DeviceTreeNode();
  root.setCells('#address-cells', 2);
  const child = root.add('soc');
  child.setTexts('compatible', 'simple-bus');
  child.set('ranges', new Uint8Array(0));
  child.add('x@1').set('odd', Uint8Array.of(1, 2, 3));
  return new DeviceTree(root, [{ start: 0x8000_0000n, sizeBytes: 0x1000n }]);
}

const changed = (change: (view: DataView, bytes: Uint8Array) => void): Uint8Array => {
  const bytes = buildDeviceTreeBlob(sample());
  change(new DataView(bytes.buffer), bytes);
  return bytes;
};

describe('a flattened device tree', () => {
  it('has the bytes of the format', () => {
    const root = new DeviceTreeNode();
    root.setCells('a', 0x01020304);
    root.add('n');
    const cells = [
      // The header: where structure, strings and reservations are.
      [0xd00dfeed, 0x68, 0x38, 0x64, 0x28, 17, 16, 0, 2, 0x2c],
      [0, 0, 0, 0],
      // The root with its property, the node `n`, and the ends of both.
      [1, 0, 3, 4, 0, 0x01020304],
      [1, 0x6e000000, 2],
      [2, 9],
      // The string `a`, and what fills it up.
      [0x61000000],
    ].flat();
    const bytes = buildDeviceTreeBlob(new DeviceTree(root));
    const view = new DataView(bytes.buffer);
    expect(bytes.length).toBe(cells.length * 4);
    expect(cells.map((_, index) => view.getUint32(index * 4))).toEqual(cells);
  });

  it('comes back as the tree it was', () => {
    const name = fc.stringMatching(/^[a-zA-Z0-9,._+?#@-]{1,12}$/);
    const properties = fc.dictionary(name, fc.uint8Array({ maxLength: 9 }), { maxKeys: 4 });
    interface Shape {
      properties: Record<string, Uint8Array>;
      children: Record<string, Shape>;
    }
    const { shape } = fc.letrec<{ shape: Shape }>((tie) => ({
      shape: fc.oneof(
        { maxDepth: 4, withCrossShrink: true },
        fc.record({ properties, children: fc.constant({}) }),
        fc.record({ properties, children: fc.dictionary(name, tie('shape'), { maxKeys: 3 }) }),
      ),
    }));
    const grow = (node: DeviceTreeNode, { properties: own, children }: Shape): DeviceTreeNode => {
      for (const [key, bytes] of Object.entries(own)) node.set(key, bytes);
      for (const [key, child] of Object.entries(children)) grow(node.add(key), child);
      return node;
    };
    const address = fc.bigInt({ min: 1n, max: (1n << 64n) - 1n });
    const reservations = fc.array(fc.record({ start: address, sizeBytes: address }), {
      maxLength: 3,
    });
    fc.assert(
      fc.property(shape, reservations, (top, reserved) => {
        const tree = new DeviceTree(grow(new DeviceTreeNode(), top), reserved);
        const back = parseDeviceTreeBlob(buildDeviceTreeBlob(tree));
        expect(plain(back.root)).toEqual(plain(tree.root));
        expect(back.reservations).toEqual(reserved);
      }),
      { seed: 20_260_404, numRuns: 150 },
    );
  });

  it('may lie in the middle of other bytes, and be followed by some', () => {
    const blob = buildDeviceTreeBlob(sample());
    const around = new Uint8Array(blob.length + 20).fill(0xaa);
    around.set(blob, 5);
    expect(plain(parseDeviceTreeBlob(around.subarray(5)).root)).toEqual(plain(sample().root));
  });

  it('may have tokens that mean nothing', () => {
    const bytes = changed((view) => {
      // The property of the innermost node: its three cells and its one cell of value.
      const at = view.getUint32(AT.structureOffset);
      for (let cell = at; cell < at + view.getUint32(AT.structureSize) - 12; cell += 4)
        if (view.getUint32(cell) === 3 && view.getUint32(cell + 4) === 3)
          for (let i = 0; i < 16; i += 4) view.setUint32(cell + i, 4);
    });
    const tree = parseDeviceTreeBlob(bytes);
    expect(tree.find('/soc/x@1')?.properties.size).toBe(0);
  });

  it.each<[string, (view: DataView, bytes: Uint8Array) => void]>([
    ['another magic', (view) => view.setUint32(AT.magic, 0xd00dfeee)],
    ['more bytes than there are', (view) => view.setUint32(AT.totalSize, view.byteLength + 1)],
    ['no room for its header', (view) => view.setUint32(AT.totalSize, 39)],
    ['an old version', (view) => view.setUint32(AT.version, 16)],
    ['a version of the future', (view) => view.setUint32(AT.lastCompatibleVersion, 18)],
    ['a structure at an odd place', (view) => view.setUint32(AT.structureOffset, 42)],
    ['a structure behind its end', (view) => view.setUint32(AT.structureOffset, 0xffff_fffc)],
    ['a structure that is too long', (view) => view.setUint32(AT.structureSize, 0xffff_fffc)],
    ['no structure', (view) => view.setUint32(AT.structureSize, 0)],
    [
      'a structure that is cut',
      (view) => view.setUint32(AT.structureSize, view.getUint32(AT.structureSize) - 4),
    ],
    ['strings behind its end', (view) => view.setUint32(AT.stringsOffset, view.byteLength)],
    ['no strings', (view) => view.setUint32(AT.stringsSize, 0)],
    ['a string without an end', (view) => view.setUint32(AT.stringsSize, 14)],
    ['reservations at an odd place', (view) => view.setUint32(AT.reservationsOffset, 44)],
    ['reservations behind its end', (view) => view.setUint32(AT.reservationsOffset, 0xffff_fff8)],
    ['reservations without an end', (_, bytes) => bytes.fill(0xff, 56)],
    ['a root with a name', (_, bytes) => bytes.set([0x61], 76)],
    ['an unknown token', (view) => view.setUint32(72, 5)],
    ['a property before the root', (view) => view.setUint32(72, 3)],
    ['an end in the middle', (view) => view.setUint32(80, 9)],
    ['a long property', (view) => view.setUint32(84, 0xffff_ffff)],
    ['a property whose name is nowhere', (view) => view.setUint32(88, 0xffff_ffff)],
  ])('is refused with %s', (_, change) => {
    expect(() => parseDeviceTreeBlob(changed(change))).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
  });

  it('is refused if its structure lies at an odd place, though all of it is there', () => {
    const bytes = buildDeviceTreeBlob(sample());
    const at = new DataView(bytes.buffer).getUint32(AT.structureOffset);
    const moved = new Uint8Array(bytes.length + 2);
    moved.set(bytes.subarray(0, at));
    moved.set(bytes.subarray(at), at + 2);
    const view = new DataView(moved.buffer);
    for (const field of [AT.totalSize, AT.structureOffset, AT.stringsOffset])
      view.setUint32(field, view.getUint32(field) + 2);
    expect(() => parseDeviceTreeBlob(moved)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });

  it('is refused if a node has a property twice', () => {
    const root = new DeviceTreeNode();
    root.setCells('a', 1);
    root.setCells('b', 2);
    const bytes = buildDeviceTreeBlob(new DeviceTree(root));
    const view = new DataView(bytes.buffer);
    // The second name becomes the first.
    const second = view.getUint32(AT.structureOffset) + 2 * 4 + 4 * 4 + 2 * 4;
    expect(view.getUint32(second)).toBe(2);
    view.setUint32(second, 0);
    expect(() => parseDeviceTreeBlob(bytes)).toThrow(
      expect.objectContaining({ code: 'EINVAL', message: expect.stringContaining('twice') }),
    );
  });

  it('is refused if it is larger than any', () => {
    const bytes = new Uint8Array(40);
    new DataView(bytes.buffer).setUint32(AT.totalSize, BLOB_BYTES_MAX + 1);
    expect(() => parseDeviceTreeBlob(bytes)).toThrow(
      expect.objectContaining({ code: 'EOVERFLOW' }),
    );
  });

  it('never does worse than be refused, whatever its bytes', () => {
    const good = buildDeviceTreeBlob(sample());
    const edits = fc.array(
      fc.tuple(
        fc.nat({ max: good.length - 1 }),
        fc.oneof(fc.constantFrom(0, 1, 2, 3, 4, 9, 255), fc.nat({ max: 255 })),
      ),
      { minLength: 1, maxLength: 6 },
    );
    const size = fc.nat({ max: good.length });
    fc.assert(
      fc.property(edits, fc.option(size, { freq: 8 }), (changes, cut) => {
        const bytes = good.slice(0, cut ?? good.length);
        for (const [at, byte] of changes) if (at < bytes.length) bytes[at] = byte;
        try {
          const tree = parseDeviceTreeBlob(bytes);
          expect(plain(parseDeviceTreeBlob(buildDeviceTreeBlob(tree)).root)).toEqual(
            plain(tree.root),
          );
        } catch (error) {
          if (!(error instanceof IommuError)) throw error;
          expect(['EINVAL', 'EOVERFLOW']).toContain(error.code);
          expect(error.message).not.toContain('\n');
        }
      }),
      { seed: 20_260_405, numRuns: 1000 },
    );
  });
});
