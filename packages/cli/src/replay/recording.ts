/** A recording, read and checked as a whole: what device it was made with, and the script of what happened. */

import type { ConfigEvent, EndpointId, StreamEvent } from '@viommu/common';
import { IommuFeature, ReservedMemory, ReservedMemoryType, hasFeature } from '@viommu/common';
import { inputFailure } from '../failure.ts';
import { type StreamFile, readStream } from '../stream-file.ts';
import type { Script } from './script.ts';
import { ScriptBuilder } from './script-builder.ts';

/** A reserved region of an endpoint; the last address is included. */
export interface RecordedRegion {
  readonly type: 'reserved' | 'msi';
  readonly start: bigint;
  readonly last: bigint;
}

/** An endpoint that the recording names, with every region that a PROBE of it returned. */
export interface RecordedEndpoint {
  readonly id: EndpointId;
  readonly reserved: readonly RecordedRegion[];
}

/** How many requests of each kind were recorded, refused ones included. */
export interface RecordedCounts {
  probe: number;
  attach: number;
  detach: number;
  map: number;
  unmap: number;
}

/** No requests at all. */
export const NO_REQUESTS: Readonly<RecordedCounts> = {
  probe: 0,
  attach: 0,
  detach: 0,
  map: 0,
  unmap: 0,
};

export interface Recording extends StreamFile {
  /** The bits that the recorded device offered. */
  readonly features: bigint;
  readonly config: ConfigEvent;
  /** In the order in which the recording names them. */
  readonly endpoints: readonly RecordedEndpoint[];
  readonly counts: Readonly<RecordedCounts>;
  /** Accesses, refused ones included. */
  readonly accesses: number;
  readonly script: Script;
}

/** Endpoints that a device of ours serves; a recording that names more is none. */
const ENDPOINTS_MAX = 65_536;
/** The largest probe_size of a device of ours. */
const PROBE_SIZE_MAX = 65_536;

/** Reads a recording to its end. @throws {Failure} for the first thing that is wrong with it. */
export async function readRecording(file: string, signal?: AbortSignal): Promise<Recording> {
  const reader = new RecordingReader();
  const stream = await readStream(file, (event, line) => reader.add(event, line), signal);
  if (reader.config === undefined) throw inputFailure(stream.name, undefined, 'it has no C line');
  return {
    ...stream,
    features: reader.features,
    config: reader.config,
    endpoints: [...reader.endpoints].map(([id, reserved]) => ({ id, reserved })),
    counts: reader.counts,
    accesses: reader.accesses,
    script: reader.builder.build(),
  };
}

class RecordingReader {
  features = 0n;
  config: ConfigEvent | undefined;
  readonly endpoints: Map<EndpointId, RecordedRegion[]> = new Map();
  readonly counts: RecordedCounts = { ...NO_REQUESTS };
  accesses = 0;
  readonly builder: ScriptBuilder = new ScriptBuilder();

  /** Takes an event; the result says what no device of ours could be or hold. */
  add(event: StreamEvent, line: number): string | undefined {
    if (!this.builder.add(event, line)) return 'the recording is too long to be replayed';
    return this.#note(event);
  }

  #note(event: StreamEvent): string | undefined {
    switch (event.kind) {
      case 'features':
        this.features = event.bits;
        return undefined;
      case 'config':
        this.config = event;
        if (event.pageSizeMask === 0n) return 'page_size_mask is 0, which allows no mapping';
        if (event.bypass > 1) return `bypass is ${event.bypass}, and can be 0 or 1 only`;
        if (event.probeSize > PROBE_SIZE_MAX)
          return `probe_size is ${event.probeSize}, and can be ${PROBE_SIZE_MAX} at most`;
        return undefined;
      case 'probe':
        this.counts.probe += 1;
        return this.#addRegion(event);
      case 'probe-empty':
        this.counts.probe += 1;
        return this.#name(event.endpoint);
      case 'attach':
      case 'detach':
        this.counts[event.kind] += 1;
        return this.#name(event.endpoint);
      case 'map':
      case 'unmap':
        this.counts[event.kind] += 1;
        return undefined;
      case 'access':
      case 'fault':
        this.accesses += 1;
        return this.#name(event.endpoint);
      case 'refused':
        // The endpoint of a refused request may be one that does not exist.
        this.counts[event.request.kind] += 1;
        return undefined;
      case 'device-reset':
      case 'system-reset':
      case 'bypass':
      case 'notify':
        return undefined;
    }
  }

  /** An endpoint that is probed again has the same regions again. */
  #addRegion({ endpoint, subtype, start, last }: ProbeEvent): string | undefined {
    const type = REGION_TYPES[subtype];
    if (type === undefined) return `subtype ${subtype} does not exist, only 0 and 1`;
    const problem = this.#name(endpoint);
    const regions = this.endpoints.get(endpoint);
    if (problem !== undefined || regions === undefined) return problem;
    for (const other of regions) {
      if (other.type === type && other.start === start && other.last === last) return undefined;
      if (start <= other.last && other.start <= last)
        return `endpoint ${endpoint} has another reserved region there`;
    }
    regions.push({ type, start, last });
    const room = hasFeature(this.features, IommuFeature.PROBE)
      ? (this.config?.probeSize ?? 0)
      : Infinity;
    if (regions.length * ReservedMemory.size > room)
      return `the regions of endpoint ${endpoint} do not fit a probe_size of ${room}`;
    return undefined;
  }

  #name(endpoint: EndpointId): string | undefined {
    if (this.endpoints.has(endpoint)) return undefined;
    if (this.endpoints.size === ENDPOINTS_MAX) return `more than ${ENDPOINTS_MAX} endpoints`;
    this.endpoints.set(endpoint, []);
    return undefined;
  }
}

type ProbeEvent = Extract<StreamEvent, { kind: 'probe' }>;

const REGION_TYPES: Readonly<Record<number, RecordedRegion['type']>> = {
  [ReservedMemoryType.RESERVED]: 'reserved',
  [ReservedMemoryType.MSI]: 'msi',
};
