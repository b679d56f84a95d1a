import { AssertionError, IommuError, struct } from '@viommu/common';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromHex, toHex, viewOf } from '../hex.ts';
import { word32, word64 } from '../stream/arbitrary.ts';

const Sample = struct('sample', 19, {
  a: 'u8',
  b: 'le16',
  c: 'le32',
  d: 'le64',
  reserved: 'u8[1]',
  tail: 'u8[3]',
});

describe('a declaration', () => {
  it.each([18, 20, 0])('of 19 bytes with the size literal %i fails', (size) => {
    const declare = (): unknown => struct('sample', size, { ...fieldsOf19 });
    expect(declare).toThrow(AssertionError);
    expect(declare).toThrow(`sample is declared with ${size} bytes and its fields have 19`);
  });

  it.each(['u8[0]', 'u8[-1]', 'u8[]', 'le24'])('with a field of type %s fails', (type) => {
    const declare = (): unknown => struct('odd', 0, { field: type as 'u8' }); // as no compiler allows
    expect(declare).toThrow(`odd.field has no width: ${type}`);
  });

  it('gives each field the bytes behind the one before, and no padding', () => {
    expect(Sample.offset).toEqual({ a: 0, b: 1, c: 3, d: 7, reserved: 15, tail: 16 });
    expect(Sample.fields.map(({ width }) => width)).toEqual([1, 2, 4, 8, 1, 3]);
  });
});

const fieldsOf19 = { d: 'le64', e: 'le64', b: 'le16', a: 'u8' } as const;

describe('reading and writing', () => {
  const value = {
    a: 0x11,
    b: 0x2233,
    c: 0x4455_6677,
    d: 0x8899_aabb_ccdd_eeffn,
    reserved: fromHex('00'),
    tail: fromHex('01 02 03'),
  };
  const bytes = fromHex('11 33 22 77 66 55 44 ff ee dd cc bb aa 99 88 00 01 02 03');

  it('is little-endian', () => {
    expect(toHex(Sample.encode(value))).toBe(toHex(bytes));
    expect(Sample.read(viewOf(bytes))).toEqual(value);
  });

  it('works at any offset and leaves the bytes around alone', () => {
    const around = new Uint8Array(Sample.size + 7).fill(0xee);
    const view = new DataView(around.buffer, 2);
    Sample.write(view, 3, value);
    expect(toHex(around)).toBe(`${'ee '.repeat(5)}${toHex(bytes)} ee ee`);
    expect(Sample.read(view, 3)).toEqual(value);
  });

  it('gives back every value that fits', () => {
    fc.assert(
      fc.property(word32, word64, fc.uint8Array({ maxLength: 3 }), (c, d, tail) => {
        const given = { a: c & 0xff, b: c >>> 16, c, d, tail };
        const whole = new Uint8Array(3);
        whole.set(tail);
        const expected = { ...given, tail: whole, reserved: new Uint8Array(1) };
        expect(Sample.read(viewOf(Sample.encode(given)))).toEqual(expected);
      }),
      { seed: 4 },
    );
  });

  it('writes zeros over what stood in reserved and in short fields', () => {
    const view = new DataView(new Uint8Array(Sample.size).fill(0xff).buffer);
    Sample.write(view, 0, { a: 0, b: 0, c: 0, d: 0n, tail: fromHex('01') });
    expect(toHex(new Uint8Array(view.buffer))).toBe(`${'00 '.repeat(16)}01 00 00`);
  });

  it('copies arrays of bytes, so that a value does not change with the memory', () => {
    const view = viewOf(bytes);
    const { tail } = Sample.read(view);
    view.setUint8(16, 0xff);
    expect(toHex(tail)).toBe('01 02 03');
  });

  it.each<[string, string, unknown]>([
    ['a', '0x100', 0x100],
    ['a', '-1', -1],
    ['a', '0.5', 0.5],
    ['a', 'NaN', Number.NaN],
    ['b', '0x1_0000', 0x1_0000],
    ['c', '2 ** 32', 2 ** 32],
    ['c', 'Infinity', Number.POSITIVE_INFINITY],
    ['d', '1n << 64n', 1n << 64n],
    ['d', '-1n', -1n],
    ['tail', '4 bytes', new Uint8Array(4)],
  ])('refuses what does not fit %s: %s', (field, _, wrong) => {
    const encode = (): unknown => Sample.encode({ ...value, [field]: wrong });
    expect(encode).toThrow(IommuError);
    expect(encode).toThrow(expect.objectContaining({ code: 'EOVERFLOW' }));
    expect(encode).toThrow(`sample.${field} cannot hold`);
  });

  it.each([-1, 1])('stops at offset %i of a view, whatever lies around the view', (at) => {
    const around = new Uint8Array(64);
    const view = new DataView(around.buffer, 8, Sample.size);
    const message = `sample does not fit a view of 19 bytes at ${at}`;
    expect(() => Sample.read(view, at)).toThrow(new AssertionError(message));
    expect(() => Sample.write(view, at, value)).toThrow(new AssertionError(message));
    expect(around.every((byte) => byte === 0)).toBe(true);
  });
});
