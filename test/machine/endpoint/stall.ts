/** An endpoint that keeps the whole host busy for a while once the guest writes how many milliseconds. */

import type { HostEndpoint } from '@viommu/machine';

export default function stall(): HostEndpoint {
  const word = new Int32Array(new SharedArrayBuffer(4));
  let stallMs = 0;
  return {
    write(_, __, value) {
      stallMs = value;
    },
    serve() {
      if (stallMs > 0) Atomics.wait(word, 0, 0, stallMs);
      stallMs = 0;
      return false;
    },
  };
}
