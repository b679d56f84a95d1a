/** How the guest program of a replay commands its other half in the host worker. */

/** The name of that half among the endpoints of the machine. */
export const HOST_NAME = 'accesses';

/** Its registers. Each write is a command, which is over when the write is. */
export const HostRegister = {
  /** Carries out the run of accesses that begins with the row written. */
  ACCESS: 0x100,
  /** Resets the IOMMU with the whole machine. */
  SYSTEM_RESET: 0x104,
} as const;
