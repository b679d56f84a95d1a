/** A guest program that never ends and listens to nobody. */

import type { GuestContext } from '@viommu/machine';

export default function spin(context: GuestContext): void {
  context.log('spinning');
  for (;;);
}
