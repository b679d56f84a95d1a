/** Flag words of the standard: one object gives the bits and the names in a dump. */

/** Names of bits and their masks, each a single bit below 2^32. */
export type FlagSet = Readonly<Record<string, number>>;

/** A flag word as text, `READ|MMIO`; bits without a name are shown in hex, and no bit as `0`. */
export function formatFlags(flags: FlagSet, word: number): string {
  const names: string[] = [];
  let rest = word >>> 0;
  for (const [name, bit] of Object.entries(flags)) {
    if ((rest & bit) === 0) continue;
    names.push(name);
    rest = (rest & ~bit) >>> 0;
  }
  if (rest !== 0) names.push(`0x${rest.toString(16)}`);
  return names.length === 0 ? '0' : names.join('|');
}
