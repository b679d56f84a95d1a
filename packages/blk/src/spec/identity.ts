/** Sections "Block Device / Device ID" and "Device Operation": the numbers that everything else is counted in. */

/** The virtio device type of a disk. */
export const BLK_DEVICE_ID = 2;
/** Bytes of a sector: the unit of the protocol, whatever the block size of the disk. */
export const SECTOR_BYTES = 512;
/** Bytes of the disk's name, filled up with NUL. */
export const BLK_NAME_BYTES = 20;
