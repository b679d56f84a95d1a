/**
 * Dumps that name every byte: offset, bytes, field, what the field says. For people who read findings and recordings.
 *
 * A dump never fails: bytes that are missing, left over or without a meaning are shown as such.
 */

import { AttachRequest } from '../spec/iommu/attach.ts';
import { DetachRequest } from '../spec/iommu/detach.ts';
import { MapRequest } from '../spec/iommu/map.ts';
import { PROBE_TYPE_MASK, ProbeProperty, ProbeRequest, ProbeType } from '../spec/iommu/probe.ts';
import { RequestHead, RequestType } from '../spec/iommu/request.ts';
import { ReservedMemory } from '../spec/iommu/resv-mem.ts';
import { UnmapRequest } from '../spec/iommu/unmap.ts';
import { formatFlags } from './flags.ts';
import type { FieldLayout, FieldType, FieldValue, Fields, Struct } from './struct.ts';

/** A layout, whatever its fields. */
export type AnyStruct = Pick<Struct<Fields>, 'name' | 'size' | 'fields'> & {
  read(view: DataView): Readonly<Record<string, FieldValue<FieldType>>>;
};

const REQUESTS: ReadonlyMap<number, AnyStruct> = new Map<number, AnyStruct>([
  [RequestType.ATTACH, AttachRequest],
  [RequestType.DETACH, DetachRequest],
  [RequestType.MAP, MapRequest],
  [RequestType.UNMAP, UnmapRequest],
  [RequestType.PROBE, ProbeRequest],
]);

const ROW_BYTES = 8;
const HEX_COLUMN = 3 * ROW_BYTES - 1;
const NAME_COLUMN = 16;

/**
 * The bytes of one structure, as lines: its name and size, then one or more lines for each field.
 *
 * `from` is what the first byte's offset is called, for a structure in the middle of a buffer.
 */
export function annotate(layout: AnyStruct, bytes: Uint8Array, from = 0): string[] {
  // One copy, so that the hex and the value of a field are of the same moment; as long as the layout.
  const copy = new Uint8Array(Math.max(layout.size, bytes.length));
  copy.set(bytes);
  const values = layout.read(new DataView(copy.buffer));

  const lines = [`${layout.name}, ${layout.size} bytes`];
  for (const field of layout.fields) {
    const end = field.offset + field.width;
    const present = Math.min(end, bytes.length) - field.offset;
    const value = values[field.name];
    let meaning = 'missing';
    if (present === field.width && value !== undefined) meaning = describe(field, value);
    else if (present > 0) meaning = `cut: ${present} of ${field.width} bytes`;
    const shown = copy.subarray(field.offset, field.offset + Math.max(present, 0));
    rows(lines, from + field.offset, shown, field.name, meaning);
  }
  const rest = copy.subarray(layout.size, bytes.length);
  if (rest.length > 0)
    rows(lines, from + layout.size, rest, '-', `${rest.length} bytes behind the structure`);
  return lines;
}

/** The device-readable bytes of a request, with the layout that its type byte names. */
export function annotateRequest(bytes: Uint8Array): string[] {
  const layout = REQUESTS.get(bytes[0] ?? 0) ?? RequestHead;
  return annotate(layout, bytes);
}

/** The properties that a PROBE returned: `probe_size` bytes, without the tail. */
export function annotateProperties(bytes: Uint8Array): string[] {
  const lines: string[] = [];
  const view = new DataView(new Uint8Array(bytes).buffer);
  let at = 0;
  while (at + ProbeProperty.size <= view.byteLength) {
    const { type, length } = ProbeProperty.read(view, at);
    if ((type & PROBE_TYPE_MASK) === ProbeType.NONE) break;
    // At least the header, so that the loop ends whatever the lengths say.
    const end = Math.min(at + ProbeProperty.size + length, view.byteLength);
    const layout = type === ProbeType.RESV_MEM ? ReservedMemory : ProbeProperty;
    lines.push(...annotate(layout, new Uint8Array(view.buffer, at, end - at), at));
    at = end;
  }
  const rest = new Uint8Array(view.buffer, at);
  if (rest.length > 0) {
    lines.push(`end of the properties, ${rest.length} bytes`);
    rows(lines, at, rest, '-', describeBytes(rest));
  }
  return lines;
}

/** Adds one line for each eight bytes, or a single one for many zeros; the first line has the words. */
function rows(lines: string[], from: number, bytes: Uint8Array, name: string, words: string): void {
  const zeros = bytes.length > ROW_BYTES && isZero(bytes);
  const step = zeros ? bytes.length : ROW_BYTES;
  for (let at = 0; at === 0 || at < bytes.length; at += step) {
    const row = bytes.subarray(at, at + step);
    const hex = zeros ? `00, ${row.length} times` : Array.from(row, hexByte).join(' ');
    const line = `${hexOffset(from + at)}  ${hex.padEnd(HEX_COLUMN)}`;
    lines.push(at === 0 ? `${line}  ${name.padEnd(NAME_COLUMN)}  ${words}` : line.trimEnd());
  }
}

function describe({ names }: FieldLayout, value: FieldValue<FieldType>): string {
  if (typeof value === 'object') return describeBytes(value);
  if (typeof value === 'bigint') return `0x${value.toString(16)}`;
  if (names === undefined) return value < 10 ? `${value}` : `${value} = 0x${value.toString(16)}`;
  if ('bits' in names) return formatFlags(names.bits, value);
  const known = Object.entries(names.values).find(([, named]) => named === value);
  return known === undefined ? `${value}, which has no name` : `${value} ${known[0]}`;
}

function describeBytes(bytes: Uint8Array): string {
  return isZero(bytes) ? 'zero' : 'not zero';
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

function hexByte(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}

function hexOffset(offset: number): string {
  return offset.toString(16).padStart(4, '0');
}
