/** Firmware that does nothing: for accelerators that run a processor, which is not wanted here. */

const IMAGE_BYTES = 0x1_0000;
/** Where a processor begins, from the end of the image. */
const RESET_VECTOR = IMAGE_BYTES - 16;
const HLT = 0xf4;
const CLI = 0xfa;
/** Back to the HLT before it. */
const JUMP_BACK = [0xeb, 0xfd] as const;

/** 64 KiB that stop the processor, and stop it again whenever something wakes it. */
export function haltImage(): Uint8Array {
  const image = new Uint8Array(IMAGE_BYTES).fill(HLT);
  image.set([CLI, HLT, ...JUMP_BACK], RESET_VECTOR);
  return image;
}
