/** Modules of a line or two, without a file. */

/** The address of a module with this source. It can import nothing but Node's own modules. */
export function inline(source: string): string {
  return `data:text/javascript,${encodeURIComponent(source)}`;
}
