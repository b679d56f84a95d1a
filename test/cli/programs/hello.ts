/** A guest program that says something in every way there is. */

import type { GuestContext } from '@viommu/machine';

export default async function hello(context: GuestContext): Promise<unknown> {
  console.log('printed');
  console.error('complained');
  context.log('logged');
  context.report({ size: 1n << 40n, negotiated: context.driver.features !== 0n });
  await Promise.resolve();
  return { answer: 42n };
}
