/** The formats that the queues of a machine can have: the option `--ring`. */

export const RING_FORMATS = ['split', 'packed'] as const;

export type RingFormat = (typeof RING_FORMATS)[number];
