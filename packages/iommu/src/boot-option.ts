/** The options of the guest's command line that concern DMA. */

/** What the command line says; absent fields were not mentioned. */
export interface BootOptions {
  /** `iommu.passthrough=`: default domains are identity domains, or they are not. */
  readonly passthrough?: boolean;
  /** `iommu.strict=` */
  readonly strict?: boolean;
  /** `iommu.forcedac=`: PCI devices do not try addresses below 4 GiB first. */
  readonly forceDac: boolean;
  /** `iommu.fq=` */
  readonly flushQueue?: 'percpu' | 'single';
  /** `iommu.fqSize=`: a power of two. */
  readonly flushQueueSize?: number;
  /** `iommu.fqTimeout=` */
  readonly flushQueueTimeoutMs?: number;
  /** `swiotlb=` */
  readonly bounce: BounceOptions;
  /** `xen.forceGrant` */
  readonly forceGrant: boolean;
  /** `viommu.bypass=`: what the driver writes to the configuration, if anything. */
  readonly bypass?: 0 | 1;
  /** `deferred_probe_timeout=`: how long a driver waits for an IOMMU that nobody registers, after boot. */
  readonly deferredProbeMs: number;
}

/** The bounce pool: `swiotlb=<slots>[,<areas>][,force|noforce]`. */
export interface BounceOptions {
  /** Slots of 2048 bytes. */
  readonly slots?: number;
  readonly areas?: number;
  readonly force: 'auto' | 'force' | 'noforce';
}

/** Reads a command line; words that are not about DMA are left alone. @throws {IommuError} `EINVAL` with one line. */
export function bootOptions(commandLine: string): BootOptions {
  void commandLine;
  return { forceDac: false, bounce: { force: 'auto' }, forceGrant: false, deferredProbeMs: 10_000 };
}
