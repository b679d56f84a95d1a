/** One test for a structure's layout, from a table that was written with the standard open and not the declaration. */

import type { AnyStruct } from '@viommu/common';
import { expect, it } from 'vitest';
import { toHex } from '../hex.ts';

/** Field, offset and width in bytes. A width above 8 is an array of bytes. */
export type Row = readonly [field: string, offset: number, width: number];

interface Layout extends AnyStruct {
  readonly offset: Readonly<Record<string, number>>;
}

interface Encodable extends Layout {
  encode(value: unknown): Uint8Array;
}

/** Adds the tests of one structure. */
export function layoutTest(layout: Layout, name: string, size: number, rows: readonly Row[]): void {
  const encodable = layout as Encodable; // the values below are made from its own fields
  const { fields, offset } = layout;
  const isArray = (field: string): boolean =>
    fields.find((declared) => declared.name === field)?.type.startsWith('u8[') === true;

  it(`${name} has its fields at the standard's offsets`, () => {
    expect(layout.name).toBe(name);
    expect(layout.size).toBe(size);
    expect(fields.map((field) => [field.name, field.offset, field.width])).toEqual(rows);
    expect(offset).toEqual(Object.fromEntries(rows.map(([field, at]) => [field, at])));
  });

  it.each(rows)(`${name}.%s is stored at byte %i with width %i`, (field, at, width) => {
    // Bytes 1, 2, 3, … in the order of the memory, everything around them zero.
    const value = Uint8Array.from({ length: width }, (_, index) => index + 1);
    const word = value.reduceRight((sum, byte) => sum * 256n + BigInt(byte), 0n);
    const given = isArray(field) ? value : width === 8 ? word : Number(word);
    const zeros = Object.fromEntries(
      rows.map(([other, , bytes]) => [other, isArray(other) ? undefined : bytes === 8 ? 0n : 0]),
    );
    const expected = new Uint8Array(size);
    expected.set(value, at);

    const bytes = encodable.encode({ ...zeros, [field]: given });
    expect(toHex(bytes)).toBe(toHex(expected));
    expect(layout.read(new DataView(expected.buffer))).toMatchObject({ [field]: given });
  });
}
