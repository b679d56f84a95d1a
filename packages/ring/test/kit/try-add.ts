/** Adding lists of any length. */

import { IommuError } from '@viommu/common';
import type { BufferList, DriverQueue } from '@viommu/ring';
import { must } from './must.ts';

/** True if there is room now. A list that is longer than the queue must be refused for good, and is not there. */
export function tryAdd(queue: DriverQueue, list: BufferList, token: number): boolean {
  if (list.count <= queue.size) return queue.add(list, token);
  try {
    queue.add(list, token);
  } catch (error) {
    must(
      error instanceof IommuError && error.code === 'EINVAL',
      `a long list meets ${String(error)}`,
    );
    return false;
  }
  throw new Error(`${list.count} buffers in a queue of ${queue.size}`);
}
