/**
 * Reads a `viommu-stream`, versions 1 and 2, one line at a time. `docs/stream-format.md` of this package has the
 * format. Pure: lines come in as arguments and faults go out as values.
 */

import type { DomainId, EndpointId, GuestPhysical, Iova } from '../address.ts';
import { type RefusedRequest, STREAM_VERSION_MAX, type StreamEvent } from './event.ts';
import type { StreamVersion } from './event.ts';
import { FieldReader, quote } from './field-reader.ts';
import { STREAM_MAGIC } from './format.ts';

/** Why a line is no part of the stream. */
export interface StreamError {
  readonly kind: 'error';
  /** The number of the line, from 1. */
  readonly line: number;
  /** One phrase that says what is wrong, printable whatever the line held. */
  readonly reason: string;
}

const U8_MAX = 0xff;
const U16_MAX = 0xffff;
const U32_MAX = 0xffff_ffff;

const ACCESSES = ['r', 'w', 'rw'] as const;
const RESETS = ['device', 'system'] as const;
const REQUESTS = ['A', 'D', 'M', 'U', 'P'] as const;

/** Of each kind of line: the version that brought it, and how many fields follow the letter. */
const LINES: ReadonlyMap<string, { version: StreamVersion; fields: number; more?: true }> = new Map(
  [
    ['F', { version: 1, fields: 1 }],
    ['C', { version: 1, fields: 7 }],
    ['P', { version: 1, fields: 4 }],
    ['A', { version: 1, fields: 3 }],
    ['D', { version: 1, fields: 2 }],
    ['M', { version: 1, fields: 5 }],
    ['U', { version: 1, fields: 3, more: true }],
    ['T', { version: 1, fields: 4 }],
    ['E', { version: 2, fields: 1 }],
    ['R', { version: 2, fields: 2, more: true }],
    ['X', { version: 2, fields: 4 }],
    ['Z', { version: 2, fields: 1 }],
    ['B', { version: 2, fields: 1 }],
    ['K', { version: 2, fields: 1 }],
  ],
);

/** Fields of a refused request behind its letter. */
const REQUEST_FIELDS = { A: 3, D: 2, M: 5, U: 3, P: 1 } as const;

/** Reads the lines of one stream in order. Readers stop at the first error; nothing of a stream that has one counts. */
export class StreamParser {
  #line = 0;
  #version = 0;
  #featuresSeen = false;
  #configSeen = false;
  readonly #reader = new FieldReader();

  /** The version that the header names; 0 before a header was read. */
  get version(): StreamVersion | 0 {
    return this.#version as StreamVersion | 0; // only #header sets it, to a version it knows
  }

  /** The number of lines taken so far, which is the number of the last one. */
  get lines(): number {
    return this.#line;
  }

  /** Takes the next line, without its line end. `undefined` for the header and for comments. */
  line(text: string): StreamEvent | StreamError | undefined {
    this.#line++;
    if (this.#version === 0) return this.#header(text);
    if (text.startsWith('#')) return undefined;
    const event = this.#event(text.split(' '));
    if (typeof event === 'string') return this.#error(event);
    return this.#reader.problem === undefined ? event : this.#error(this.#reader.problem);
  }

  /** To be called when no line is left: an error if the stream is not whole, as a file cut near its start is not. */
  end(): StreamError | undefined {
    const missing =
      this.#version === 0
        ? 'header'
        : this.#featuresSeen
          ? this.#configSeen
            ? ''
            : 'C line'
          : 'F line';
    if (missing === '') return undefined;
    return this.#error(`the stream ends without its ${missing}`);
  }

  #header(text: string): StreamError | undefined {
    const version = text.startsWith(STREAM_MAGIC) ? text.slice(STREAM_MAGIC.length) : '';
    if (this.#line !== 1 || !/^[0-9]{1,10}$/.test(version))
      return this.#error(`line 1 must be "${STREAM_MAGIC}" and a version, and is not`);
    if (Number(version) > STREAM_VERSION_MAX)
      return this.#error(`version ${version} is not known, only 1 to ${STREAM_VERSION_MAX}`);
    if (Number(version) < 1) return this.#error(`version ${version} does not exist`);
    this.#version = Number(version);
    return undefined;
  }

  /** The event, or what is wrong with the shape of the line; wrong fields are the reader's `problem`. */
  #event(fields: readonly string[]): StreamEvent | string {
    const letter = fields[0] ?? '';
    const shape = LINES.get(letter);
    if (shape === undefined) return `unknown kind of line ${quote(letter)}`;
    if (shape.version > this.#version)
      return `kind ${letter} needs version ${shape.version}, and the header says ${this.#version}`;
    const found = fields.length - 1;
    if (shape.more === undefined ? found !== shape.fields : found < shape.fields)
      return wrongCount(letter, shape.fields, found, shape.more);
    if (letter !== 'F' && letter !== 'C') {
      if (!this.#featuresSeen) return `kind ${letter} stands before the F line`;
      if (!this.#configSeen) return `kind ${letter} stands before the C line`;
    }

    const reader = this.#reader;
    reader.start(fields, 1);
    switch (letter) {
      case 'F':
        if (this.#featuresSeen) return 'a second F line';
        this.#featuresSeen = true;
        return { kind: 'features', bits: reader.hex64('features') };
      case 'C':
        if (this.#configSeen) return 'a second C line';
        this.#configSeen = true;
        return this.#config();
      case 'P':
        return this.#probe();
      case 'A':
      case 'D':
      case 'M':
        return ordered(reader, readRequest(reader, letter));
      case 'U':
        return this.#unmap();
      case 'T':
        return {
          kind: 'access',
          endpoint: readEndpoint(reader),
          address: reader.hex64('address') as Iova, // a decoder makes addresses
          access: reader.choice('access', ACCESSES),
          result: reader.hex64Or('result', '=') as GuestPhysical | '=', // a decoder makes addresses
        };
      case 'E':
        return { kind: 'probe-empty', endpoint: readEndpoint(reader) };
      case 'R':
        return this.#refused();
      case 'X':
        return {
          kind: 'fault',
          endpoint: readEndpoint(reader),
          address: reader.hex64('address') as Iova, // a decoder makes addresses
          access: reader.choice('access', ACCESSES),
          reason: reader.decimal('reason', U8_MAX),
        };
      case 'Z':
        return { kind: `${reader.choice('reset', RESETS)}-reset` };
      case 'B':
        return { kind: 'bypass', value: reader.decimal('value', U8_MAX) };
      case 'K':
        return { kind: 'notify', queue: reader.decimal('queue', U16_MAX) };
      default:
        return `unknown kind of line ${quote(letter)}`;
    }
  }

  #config(): StreamEvent {
    const reader = this.#reader;
    const event = {
      kind: 'config',
      pageSizeMask: reader.hex64('page_size_mask'),
      inputStart: reader.hex64('input_range.start'),
      inputLast: reader.hex64('input_range.end'),
      domainFirst: reader.hex('domain_range.start', U32_MAX),
      domainLast: reader.hex('domain_range.end', U32_MAX),
      probeSize: reader.hex('probe_size', U32_MAX),
      bypass: reader.hex('bypass', U8_MAX),
    } as const;
    if (event.inputLast < event.inputStart) reader.fail('input_range ends before it starts');
    if (event.domainLast < event.domainFirst) reader.fail('domain_range ends before it starts');
    return event;
  }

  #probe(): StreamEvent {
    const reader = this.#reader;
    const event = {
      kind: 'probe',
      endpoint: readEndpoint(reader),
      subtype: reader.decimal('subtype', U8_MAX),
      start: reader.hex64('start'),
      last: reader.hex64('end'),
    } as const;
    if (event.last < event.start) reader.fail('end is below start');
    return event;
  }

  #unmap(): StreamEvent {
    const reader = this.#reader;
    const request = ordered(reader, readRequest(reader, 'U'));
    const removed: { start: Iova; last: Iova }[] = [];
    while (reader.left > 0) removed.push(reader.hexPair('removed') as { start: Iova; last: Iova }); // a decoder makes addresses
    return { ...request, removed };
  }

  #refused(): StreamEvent | string {
    const reader = this.#reader;
    const status = reader.decimal('status', U8_MAX, 1);
    const letter = reader.choice('the refused request', REQUESTS);
    if (reader.problem === undefined && reader.left !== REQUEST_FIELDS[letter])
      return wrongCount(`R ${letter}`, REQUEST_FIELDS[letter], reader.left);
    return { kind: 'refused', status, request: readRequest(reader, letter) };
  }

  #error(reason: string): StreamError {
    return { kind: 'error', line: this.#line, reason };
  }
}

type RequestLetter = (typeof REQUESTS)[number];
type RequestKind = { A: 'attach'; D: 'detach'; M: 'map'; U: 'unmap'; P: 'probe' };
type RequestOf<Letter extends RequestLetter> = Extract<
  RefusedRequest,
  { kind: RequestKind[Letter] }
>;

function readRequest<Letter extends RequestLetter>(
  reader: FieldReader,
  letter: Letter,
): RequestOf<Letter>;
function readRequest(reader: FieldReader, letter: RequestLetter): RefusedRequest {
  switch (letter) {
    case 'P':
      return { kind: 'probe', endpoint: readEndpoint(reader) };
    case 'A':
      return {
        kind: 'attach',
        domain: readDomain(reader),
        endpoint: readEndpoint(reader),
        flags: reader.decimal('flags', U32_MAX),
      };
    case 'D':
      return { kind: 'detach', domain: readDomain(reader), endpoint: readEndpoint(reader) };
    case 'M':
      return {
        kind: 'map',
        domain: readDomain(reader),
        virtStart: reader.hex64('virt_start') as Iova, // a decoder makes addresses
        virtLast: reader.hex64('virt_end') as Iova, // likewise
        physStart: reader.hex64('phys_start') as GuestPhysical, // likewise
        flags: reader.decimal('flags', U32_MAX),
      };
    case 'U':
      return {
        kind: 'unmap',
        domain: readDomain(reader),
        virtStart: reader.hex64('virt_start') as Iova, // a decoder makes addresses
        virtLast: reader.hex64('virt_end') as Iova, // likewise
      };
  }
}

/** A range that was granted cannot end before it starts; one that was refused can. */
function ordered<Request extends RefusedRequest>(reader: FieldReader, request: Request): Request {
  if ('virtLast' in request && request.virtLast < request.virtStart)
    reader.fail('virt_end is below virt_start');
  return request;
}

function readDomain(reader: FieldReader): DomainId {
  return reader.decimal('domain', U32_MAX) as DomainId; // a decoder makes ids
}

function readEndpoint(reader: FieldReader): EndpointId {
  return reader.decimal('endpoint', U32_MAX) as EndpointId; // a decoder makes ids
}

function wrongCount(kind: string, wanted: number, found: number, more?: true): string {
  const least = more === true ? 'at least ' : '';
  return `kind ${kind} takes ${least}${wanted} fields, and ${found} are there`;
}
