/** An endpoint that ends the host's thread after a while, in the middle of its work. */

import type { HostContext, HostEndpoint } from '@viommu/machine';

export default function killer(_host: HostContext, dieMs: number): HostEndpoint {
  const dieAt = performance.now() + dieMs;
  return {
    serve() {
      if (performance.now() > dieAt) process.exit(4);
      return false;
    },
  };
}
