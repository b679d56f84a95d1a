/** What the demonstration has to say, for whoever prints it. */

/** What the demonstration reports, in this order; addresses and ranges are bigints, ends are inclusive. */
export type DemonstrationEvent =
  /** The device that was found. */
  | {
      readonly step: 'device';
      readonly features: bigint;
      readonly pageSizeBitmap: bigint;
      readonly aperture: { readonly start: bigint; readonly last: bigint };
    }
  /** What the device says about the endpoint. */
  | {
      readonly step: 'probe';
      readonly endpoint: number;
      readonly regions: readonly {
        readonly type: string;
        readonly start: bigint;
        readonly last: bigint;
      }[];
    }
  /** Before anything is attached the endpoint reaches nothing. */
  | { readonly step: 'blocked'; readonly endpoint: number; readonly reason: string }
  | { readonly step: 'attach'; readonly endpoint: number; readonly domain: number }
  /** Two buffers, each scattered over memory, lie in one piece each for the endpoint. */
  | {
      readonly step: 'map';
      readonly pieces: number;
      readonly bytes: number;
      readonly source: bigint;
      readonly target: bigint;
      readonly requests: number;
      readonly notifications: number;
      readonly microseconds: number;
    }
  /** The endpoint moved bytes, and they arrived. */
  | {
      readonly step: 'transfer';
      readonly direction: 'out' | 'back';
      readonly bytes: number;
      readonly checksum: number;
      readonly microseconds: number;
    }
  /** The endpoint was refused an access, and the device reported it. */
  | {
      readonly step: 'fault';
      readonly access: 'read' | 'write';
      readonly address: bigint;
      readonly reason: string;
      readonly why: string;
    }
  /** The endpoint wrote into the region for interrupts: memory never sees it. */
  | { readonly step: 'interrupt'; readonly address: bigint; readonly data: number }
  /** Everything unmapped, and the endpoint reaches none of it any more. */
  | {
      readonly step: 'unmap';
      readonly bytes: number;
      readonly requests: number;
      readonly notifications: number;
      readonly reason: string;
    }
  /** How fast requests are answered: `batch` MAPs are sent together, then as many UNMAPs. */
  | {
      readonly step: 'speed';
      readonly batch: number;
      readonly requests: number;
      readonly notifications: number;
      readonly seconds: number;
    };
