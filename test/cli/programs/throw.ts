/** A guest program that fails. */

export default function fail(): never {
  throw new Error('on purpose,\nin two lines');
}
