/** Where things lie in the one memory of this example, in bytes from its start. */
export const WINDOW = 0x0000;
export const CONTROL = 0x1000;
// From 0x10000 on lie the guest's own stack and data: see --global-base in build.sh.
export const RAM = 0x2_0000;
export const RAM_BYTES = 0x10_0000;
export const MEMORY_BYTES: number = RAM + RAM_BYTES;
/** The guest-physical address of the first byte of RAM. */
export const RAM_BASE = 0x4000_0000n;
/** The endpoint that the host has. */
export const ENDPOINT = 8;
