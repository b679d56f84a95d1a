export async function start(..._: unknown[]): Promise<number> {
  return 0;
}
