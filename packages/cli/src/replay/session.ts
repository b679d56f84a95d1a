/** One recording replayed: a machine made after the recorded device, and what both of its sides found out. */

import { IommuError, IommuFeature, VirtioFeature, featureMask, hasFeature } from '@viommu/common';
import { IommuDevice, MAPPINGS_MAX, type FeatureOffer } from '@viommu/device';
import type { MachineOptions } from '@viommu/machine';
import { createMachine } from '@viommu/machine/node';
import { ExitCode, Failure, inputFailure } from '../failure.ts';
import { featureNames, withoutLegacy } from '../features.ts';
import { Counter, Findings, type Mismatch } from './findings.ts';
import type { ReplayArguments } from './guest.ts';
import { HOST_NAME } from './host-register.ts';
import type { ReplayHostData } from './host.ts';
import type { Recording } from './recording.ts';
import type { RingFormat } from '../ring-format.ts';
import type { BatchMode } from './walk.ts';

/** What came of a replay. */
export interface ReplayResult {
  /** Requests with an answer. */
  readonly requests: number;
  readonly accesses: number;
  /** The format of the queues. */
  readonly ring: RingFormat;
  /** Rows of the recording whose answer was another one. */
  readonly mismatches: number;
  /** The first of them, in the order of the recording. */
  readonly found: readonly Mismatch[];
  /** Doorbells that the driver rang for requests. */
  readonly notifications: number;
  /** How often the driver was told to wait for all its requests. */
  readonly syncs: number;
  /** From the first request or access to the end of the last. */
  readonly seconds: number;
}

type DeviceOptions = NonNullable<MachineOptions['device']>;

const EXTENSION: string = import.meta.url.endsWith('.ts') ? 'ts' : 'js';

/** Guest memory, for the rings and requests of the driver; accesses are translated and go no further. */
const MEMORY_BYTES = 8 << 20;
/** Domains and endpoints that a device of ours has at most. */
const DOMAINS_MAX = 1 << 20;

/** The replay of one recording. Runs once. */
export class ReplaySession {
  /** What the device does not have of what the recorded one had, for people. */
  readonly remarks: readonly string[];
  readonly #recording: Recording;
  readonly #batch: BatchMode;
  readonly #ring: RingFormat;
  readonly #device: DeviceOptions;
  readonly #guest: Findings = new Findings();
  readonly #host: Findings = new Findings();

  /** `ring` is the format of the queues, if it is not to be that of the recorded device. */
  constructor(recording: Recording, batch: BatchMode, ring?: RingFormat) {
    this.#recording = recording;
    this.#batch = batch;
    const recorded = hasFeature(recording.features, VirtioFeature.RING_PACKED);
    this.#ring = ring ?? (recorded ? 'packed' : 'split');
    this.#device = deviceOptions(recording, this.#ring);
    const chosen = featureMask(VirtioFeature.RING_PACKED);
    const left = withoutLegacy(recording.features) & ~(this.#offeredFeatures() | chosen);
    const names = featureNames(left).join(', ');
    this.remarks = left === 0n ? [] : [`our device does not have these features: ${names}`];
  }

  /** Rows of the script that are done; may be asked at any time. */
  rowsDone(): number {
    return this.#guest.get(Counter.ROW);
  }

  /** @throws {Failure} if the machine breaks down; mismatches are no failure. */
  async run(signal?: AbortSignal): Promise<ReplayResult> {
    const { script, name } = this.#recording;
    const args: ReplayArguments = {
      script: script.buffer,
      findings: this.#guest.buffer,
      batch: this.#batch,
    };
    const data: ReplayHostData = { script: script.buffer, findings: this.#host.buffer };
    try {
      const machine = createMachine({
        program: new URL(`./guest.${EXTENSION}`, import.meta.url),
        args,
        memoryBytes: MEMORY_BYTES,
        device: this.#device,
        endpoints: {
          [HOST_NAME]: {
            kind: 'module',
            module: new URL(`./host.${EXTENSION}`, import.meta.url),
            data,
          },
        },
        signal,
      });
      await machine.run();
      return this.#result();
    } catch (error) {
      if (error instanceof IommuError)
        throw new Failure(ExitCode.FAILED, `${name}: ${error.message}`, { cause: error });
      throw error;
    }
  }

  /** @throws {Failure} if no device can be made of the recording's options. */
  #offeredFeatures(): bigint {
    try {
      return new IommuDevice(this.#device).offeredFeatures;
    } catch (error) {
      if (!(error instanceof IommuError)) throw error;
      throw inputFailure(this.#recording.name, undefined, error.message);
    }
  }

  #result(): ReplayResult {
    const guest = this.#guest;
    const host = this.#host;
    const result = {
      requests: guest.get(Counter.REQUESTS),
      accesses: host.get(Counter.ACCESSES),
      ring: this.#ring,
      mismatches: guest.get(Counter.MISMATCHES) + host.get(Counter.MISMATCHES),
      found: [...guest.mismatches(), ...host.mismatches()].toSorted((a, b) => a.row - b.row),
      notifications: guest.get(Counter.NOTIFICATIONS),
      syncs: guest.get(Counter.SYNCS),
      seconds: guest.get(Counter.ELAPSED_US) / 1e6,
    };
    this.#checkComplete(result);
    return result;
  }

  /** Nothing that was recorded may have gone by without a comparison. */
  #checkComplete({ requests, accesses, mismatches }: ReplayResult): void {
    const { counts, name, accesses: made } = this.#recording;
    const sent = Object.values(counts).reduce((sum, count) => sum + count, 0);
    const seen = this.#host.get(Counter.REQUESTS);
    const complete = requests === sent && accesses === made;
    if (complete && (mismatches > 0 || seen === sent)) return;
    throw new Failure(
      ExitCode.FAILED,
      `${name}: only ${requests} of ${sent} requests and ${accesses} of ${made} accesses were compared`,
    );
  }
}

/** The device that the recording was made with, as far as ours can be like it, with queues of the given format. */
function deviceOptions(recording: Recording, ring: RingFormat): DeviceOptions {
  const { config, endpoints, features } = recording;
  const has = (bit: number): boolean => hasFeature(features, bit);
  const bypassConfig = has(IommuFeature.BYPASS_CONFIG);
  const offer: Required<FeatureOffer> = {
    inputRange: has(IommuFeature.INPUT_RANGE),
    domainRange: has(IommuFeature.DOMAIN_RANGE),
    mapUnmap: has(IommuFeature.MAP_UNMAP),
    legacyBypass: has(IommuFeature.BYPASS) && !bypassConfig,
    probe: has(IommuFeature.PROBE),
    mmio: has(IommuFeature.MMIO),
    bypassConfig,
    indirect: has(VirtioFeature.INDIRECT_DESC),
    eventIndex: has(VirtioFeature.EVENT_IDX),
    inOrder: has(VirtioFeature.IN_ORDER),
    packed: ring === 'packed',
    ringReset: has(VirtioFeature.RING_RESET),
    notificationData: has(VirtioFeature.NOTIFICATION_DATA),
  };
  const device: DeviceOptions = {
    endpoints,
    features: offer,
    pageSizeMask: config.pageSizeMask,
    inputRange: { start: config.inputStart, last: config.inputLast },
    domainRange: { first: config.domainFirst, last: config.domainLast },
    // Regions hold without PROBE, too, and then there is no size that they must fit.
    ...(offer.probe && { probeSize: config.probeSize }),
    bypass: config.bypass === 1,
    // The recorded device had room for all that was recorded.
    limits: {
      endpoints: DOMAINS_MAX,
      domains: DOMAINS_MAX,
      mappings: MAPPINGS_MAX,
      mappingsPerDomain: MAPPINGS_MAX,
    },
  };
  return device;
}
