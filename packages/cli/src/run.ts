export async function run(..._: unknown[]): Promise<number> {
  return 0;
}
