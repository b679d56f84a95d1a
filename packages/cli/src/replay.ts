export const BATCH_MODES = ['lazy', 'strict'] as const;
export type BatchMode = (typeof BATCH_MODES)[number];
export async function replay(..._: unknown[]): Promise<number> {
  return 0;
}
