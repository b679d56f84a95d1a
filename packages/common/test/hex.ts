/** Bytes as the documents print them: pairs of hex digits with any space between them. */

/** The bytes that `text` shows. */
export function fromHex(text: string): Uint8Array<ArrayBuffer> {
  const pairs = text.match(/\S+/g) ?? [];
  return Uint8Array.from(pairs, (pair) => {
    if (!/^[0-9a-f]{2}$/.test(pair)) throw new Error(`not a byte: ${pair}`);
    return Number.parseInt(pair, 16);
  });
}

/** The bytes as pairs of hex digits, one space between them. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
}

/** A view of a fresh copy of `bytes`. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.slice().buffer);
}
