/** Probes an endpoint by its number, and one that is not there. */

import type { GuestContext } from '@viommu/machine';

export default function program({ driver, endpoint }: GuestContext): object {
  const { id = 0 } = endpoint('own');
  const { regions } = driver.probeDevice([id]);
  let stranger: unknown;
  try {
    driver.probeDevice([78]);
  } catch (error) {
    stranger = (error as { code?: unknown }).code;
  }
  return { own: id, regions: regions.length, stranger };
}
