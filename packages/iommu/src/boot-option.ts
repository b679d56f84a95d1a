/** The options of the guest's command line that concern DMA. */

import { IommuError } from '@viommu/common';

/** What the command line says; absent fields were not mentioned. */
export interface BootOptions {
  /** `iommu.passthrough=0|1`: default domains are identity domains, or they are not. */
  readonly passthrough?: boolean;
  /** `iommu.strict=0|1` */
  readonly strict?: boolean;
  /** `iommu.forcedac=0|1`: PCI devices do not try addresses below 4 GiB first. */
  readonly forceDac: boolean;
  /** `iommu.fq=percpu|single` */
  readonly flushQueue?: 'percpu' | 'single';
  /** `iommu.fqSize=`: a power of two, 2..2^20. */
  readonly flushQueueSize?: number;
  /** `iommu.fqTimeout=`: 1..3,600,000. */
  readonly flushQueueTimeoutMs?: number;
  /** `swiotlb=` */
  readonly bounce: BounceOptions;
  /** `xen.forceGrant=0|1`, or the bare word. */
  readonly forceGrant: boolean;
  /** `viommu.bypass=0|1`: what the driver writes to the configuration, if anything. */
  readonly bypass?: 0 | 1;
  /** `deferred_probe_timeout=`: seconds a driver waits after boot for an IOMMU that nobody registers. */
  readonly deferredProbeMs: number;
}

/** The bounce pool: `swiotlb=<slots>[,<areas>][,force|noforce]`. */
export interface BounceOptions {
  /** Slots of 2048 bytes, a multiple of 128. */
  readonly slots?: number;
  /** A power of two. */
  readonly areas?: number;
  readonly force: 'auto' | 'force' | 'noforce';
}

/** The options of an empty command line. */
export const DEFAULT_BOOT_OPTIONS: BootOptions = {
  forceDac: false,
  bounce: { force: 'auto' },
  forceGrant: false,
  deferredProbeMs: 10_000,
};

/** A slot is 2 KiB, and so this many are 64 GiB: more is a slip of the pen. */
const SLOTS_MAX = 1 << 25;
const SLOTS_PER_SEGMENT = 128;

/**
 * Reads a command line, words separated by blanks; of two that say something about one matter the last one counts.
 *
 * Words about other matters are left alone.
 *
 * @throws {IommuError} `EINVAL` with one line that names the word and what it could be.
 */
export function bootOptions(commandLine: string): BootOptions {
  let options = DEFAULT_BOOT_OPTIONS;
  for (const word of commandLine.split(/\s+/)) {
    const at = word.indexOf('=');
    const name = at < 0 ? word : word.slice(0, at);
    if (Object.hasOwn(OPTIONS, name)) {
      const option = OPTIONS[name]!; // It has it.
      const said = option.read(at < 0 ? undefined : word.slice(at + 1));
      if (said === undefined)
        throw new IommuError('EINVAL', `${word}: the value is ${option.form}.`);
      options = { ...options, ...said };
    } else if (OURS.test(name)) {
      const known = Object.keys(OPTIONS).join(', ');
      throw new IommuError('EINVAL', `${word}: there is no such option; there are ${known}.`);
    }
  }
  return options;
}

/** What starts a word that is ours, so that a slip of the pen in its name is found. */
const OURS = /^(?:iommu|viommu|xen)\./;

interface Option {
  /** What its value looks like. */
  readonly form: string;
  /** What a value says, `undefined` if it makes no sense. The value is absent if there was no `=`. */
  read(value: string | undefined): Partial<BootOptions> | undefined;
}

const OPTIONS: Readonly<Record<string, Option>> = {
  'iommu.passthrough': flag((passthrough) => ({ passthrough })),
  'iommu.strict': flag((strict) => ({ strict })),
  'iommu.forcedac': flag((forceDac) => ({ forceDac })),
  'iommu.fq': {
    form: 'percpu or single',
    read: (value) => (value === 'percpu' || value === 'single' ? { flushQueue: value } : undefined),
  },
  'iommu.fqSize': number(2, 1 << 20, 'a power of two', (value) =>
    isPowerOfTwo(value) ? { flushQueueSize: value } : undefined,
  ),
  'iommu.fqTimeout': number(1, 3_600_000, 'milliseconds', (flushQueueTimeoutMs) => ({
    flushQueueTimeoutMs,
  })),
  swiotlb: {
    form: 'slots[,areas][,force|noforce], the areas a power of two',
    read: (value) => {
      const bounce = bounceOf(value ?? '');
      return bounce && { bounce };
    },
  },
  'xen.forceGrant': flag((forceGrant) => ({ forceGrant })),
  'viommu.bypass': flag((bypass) => ({ bypass: bypass ? 1 : 0 })),
  deferred_probe_timeout: number(0, 3600, 'seconds', (seconds) => ({
    deferredProbeMs: seconds * 1000,
  })),
};

/** An option that is off or on; its bare name turns it on. */
function flag(say: (on: boolean) => Partial<BootOptions>): Option {
  return {
    form: '0 or 1',
    read: (value = '1') => (value === '0' || value === '1' ? say(value === '1') : undefined),
  };
}

function number(
  min: number,
  max: number,
  noun: string,
  say: (value: number) => Partial<BootOptions> | undefined,
): Option {
  return {
    form: `${noun}, ${min} to ${max}`,
    read: (text) => {
      const value = numberOf(text, min, max);
      return value === undefined ? undefined : say(value);
    },
  };
}

function bounceOf(text: string): BounceOptions | undefined {
  const parts = text.split(',');
  const end = parts.at(-1);
  const force = end === 'force' || end === 'noforce' ? end : 'auto';
  if (force !== 'auto') parts.pop();
  if (parts.length > 2 || text === '') return undefined;
  const [slotText, areaText] = parts;
  const slots = numberOf(slotText, 1, SLOTS_MAX);
  const areas = numberOf(areaText, 1, SLOTS_MAX / SLOTS_PER_SEGMENT);
  if (slotText !== undefined && slots === undefined) return undefined;
  if (areaText !== undefined && (areas === undefined || !isPowerOfTwo(areas))) return undefined;
  return {
    force,
    ...(slots !== undefined && {
      slots: Math.ceil(slots / SLOTS_PER_SEGMENT) * SLOTS_PER_SEGMENT,
    }),
    ...(areas !== undefined && { areas }),
  };
}

function numberOf(text: string | undefined, min: number, max: number): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined;
  const value = Number(text);
  return value >= min && value <= max ? value : undefined;
}

function isPowerOfTwo(value: number): boolean {
  return (value & (value - 1)) === 0;
}
