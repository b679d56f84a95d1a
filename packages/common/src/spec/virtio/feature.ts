/** Feature bits that are not a device type's own: section "Reserved Feature Bits". The values are bit numbers. */
export const VirtioFeature = {
  INDIRECT_DESC: 28,
  EVENT_IDX: 29,
  VERSION_1: 32,
  ACCESS_PLATFORM: 33,
  RING_PACKED: 34,
  IN_ORDER: 35,
  ORDER_PLATFORM: 36,
  SR_IOV: 37,
  NOTIFICATION_DATA: 38,
  NOTIF_CONFIG_DATA: 39,
  RING_RESET: 40,
  ADMIN_VQ: 41,
  SUSPEND: 43,
} as const;

/** The mask of one feature bit. */
export function featureMask(bit: number): bigint {
  return 1n << BigInt(bit);
}

/** The set of several feature bits. */
export function featureSet(bits: readonly number[]): bigint {
  return bits.reduce((set, bit) => set | featureMask(bit), 0n);
}

/** True if `bit` is in the set `features`. */
export function hasFeature(features: bigint, bit: number): boolean {
  return ((features >> BigInt(bit)) & 1n) === 1n;
}
