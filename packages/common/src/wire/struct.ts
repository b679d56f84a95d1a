/**
 * Layouts of the standard, declared once. Nothing outside a declaration knows an offset.
 *
 * A declaration lists the fields in the standard's order, reserved bytes included, and repeats the structure's size as
 * a literal, so that a wrong field fails when the module loads. All integers are little-endian and nothing is padded.
 */

import { AssertionError, IommuError, assert } from '../error.ts';
import type { FlagSet } from './flags.ts';

/** How a field is stored: an integer of the standard, or `u8[n]` for n bytes that are not understood here. */
export type FieldType = 'u8' | 'le16' | 'le32' | 'le64' | `u8[${number}]`;

/** Field names and types in the order of the bytes. */
export type Fields = Readonly<Record<string, FieldType>>;

/** What one field holds once it is read. */
export type FieldValue<Type extends FieldType> = Type extends 'le64'
  ? bigint
  : Type extends `u8[${number}]`
    ? Uint8Array
    : number;

/** A structure as a value. */
export type StructValue<F extends Fields> = { -readonly [K in keyof F]: FieldValue<F[K]> };

type ReservedName = `reserved${string}`;

/** What {@link Struct.write} takes: reserved fields may be left out and are then written as zero. */
export type StructInput<F extends Fields> = {
  readonly [K in keyof F as K extends ReservedName ? never : K]: FieldValue<F[K]>;
} & { readonly [K in keyof F as K extends ReservedName ? K : never]?: FieldValue<F[K]> };

/** What the numbers in a field are called: each bit of it, or each value. */
export type FieldNames =
  | { readonly bits: FlagSet }
  | { readonly values: Readonly<Record<string, number>> };

/** Where one field lies, and how a dump names what is in it. */
export interface FieldLayout {
  readonly name: string;
  readonly type: FieldType;
  /** Bytes before the field. */
  readonly offset: number;
  /** Bytes in the field. */
  readonly width: number;
  readonly names: FieldNames | undefined;
}

/** One layout: sizes and offsets for hot paths, `read` and `write` for all others. */
export interface Struct<F extends Fields> {
  /** The structure's name in the standard. */
  readonly name: string;
  /** Size in bytes. */
  readonly size: number;
  readonly fields: readonly FieldLayout[];
  readonly offset: { readonly [K in keyof F]: number };
  /** Reads the structure at byte `at`; an invariant is broken if the view does not hold `size` bytes from there. */
  read(view: DataView, at?: number): StructValue<F>;
  /**
   * Writes the structure at byte `at`; an invariant is broken if the view does not hold `size` bytes from there. Bytes
   * shorter than their field are filled up with zeros.
   *
   * @throws {IommuError} `EOVERFLOW` if a value does not fit its field. Fields before it are written by then.
   */
  write(view: DataView, at: number, value: StructInput<F>): void;
  /**
   * The structure as fresh bytes.
   *
   * @throws {IommuError} `EOVERFLOW` if a value does not fit its field.
   */
  encode(value: StructInput<F>): Uint8Array<ArrayBuffer>;
}

/** Declares a layout. `size` is the standard's and is checked against the fields; `names` serve dumps only. */
export function struct<const F extends Fields>(
  name: string,
  size: number,
  fields: F,
  names: { readonly [K in keyof F]?: FieldNames } = {},
): Struct<F> {
  const layout: FieldLayout[] = [];
  const offset: Record<string, number> = {};
  let end = 0;
  for (const [field, type] of Object.entries(fields)) {
    const width = fieldWidth(type);
    assert(Number.isInteger(width) && width > 0, `${name}.${field} has no width: ${type}`);
    layout.push({ name: field, type, offset: end, width, names: names[field] });
    offset[field] = end;
    end += width;
  }
  assert(end === size, `${name} is declared with ${size} bytes and its fields have ${end}`);

  const write = (view: DataView, at: number, value: StructInput<F>): void => {
    checkRoom(view, at, name, size);
    const values = value as Readonly<Record<string, FieldValue<FieldType> | undefined>>;
    for (const field of layout) {
      const given = values[field.name];
      if (!writeField(view, at + field.offset, field, given))
        throw new IommuError('EOVERFLOW', `${name}.${field.name} cannot hold ${describe(given)}.`);
    }
  };
  return {
    name,
    size,
    fields: layout,
    offset: offset as Struct<F>['offset'],
    write,
    read(view, at = 0) {
      checkRoom(view, at, name, size);
      const value: Record<string, FieldValue<FieldType>> = {};
      for (const field of layout) value[field.name] = readField(view, at + field.offset, field);
      return value as StructValue<F>;
    },
    encode(value) {
      const bytes = new Uint8Array(size);
      write(new DataView(bytes.buffer), 0, value);
      return bytes;
    },
  };
}

/** Arrays of bytes are views of their own, which `view` alone would not keep inside it. */
function checkRoom(view: DataView, at: number, name: string, size: number): void {
  if (at < 0 || at + size > view.byteLength)
    throw new AssertionError(`${name} does not fit a view of ${view.byteLength} bytes at ${at}`);
}

function fieldWidth(type: FieldType): number {
  switch (type) {
    case 'u8':
      return 1;
    case 'le16':
      return 2;
    case 'le32':
      return 4;
    case 'le64':
      return 8;
    default:
      return Number(/^u8\[([0-9]+)\]$/.exec(type)?.[1]);
  }
}

function readField(
  view: DataView,
  at: number,
  { type, width }: FieldLayout,
): number | bigint | Uint8Array {
  switch (type) {
    case 'u8':
      return view.getUint8(at);
    case 'le16':
      return view.getUint16(at, true);
    case 'le32':
      return view.getUint32(at, true);
    case 'le64':
      return view.getBigUint64(at, true);
    default:
      // A copy: the view may lie in memory that somebody else writes.
      return new Uint8Array(view.buffer, view.byteOffset + at, width).slice();
  }
}

/** False if the value does not fit; nothing is written then. A value that is not given is zero. */
function writeField(
  view: DataView,
  at: number,
  { type, width }: FieldLayout,
  value: FieldValue<FieldType> = type.startsWith('u8[') ? new Uint8Array(0) : 0,
): boolean {
  if (typeof value === 'object') {
    if (value.length > width) return false;
    const bytes = new Uint8Array(view.buffer, view.byteOffset + at, width);
    bytes.fill(0);
    bytes.set(value);
    return true;
  }
  if (type === 'le64') {
    if (BigInt.asUintN(64, BigInt(value)) !== BigInt(value)) return false;
    view.setBigUint64(at, BigInt(value), true);
    return true;
  }
  const number = Number(value);
  if (!Number.isInteger(number) || number < 0 || number >= 2 ** (8 * width)) return false;
  if (type === 'u8') view.setUint8(at, number);
  else if (type === 'le16') view.setUint16(at, number, true);
  else view.setUint32(at, number, true);
  return true;
}

function describe(value: FieldValue<FieldType> | undefined): string {
  return typeof value === 'object' ? `${value.length} bytes` : String(value);
}
