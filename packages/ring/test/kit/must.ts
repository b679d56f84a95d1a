/** A check for long loops, where `expect` would take most of the time. */
export function must(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message);
}
