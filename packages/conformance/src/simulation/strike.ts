/** What goes wrong. */

import type { Host } from './host.ts';
import type { Strike } from './plan.ts';
import type { Stage } from './stage.ts';

/** More than the guest waits for the host. */
const LONG_MS = 6000;

/** Lets one of these things happen. */
export function strike(stage: Stage, host: Host, kinds: readonly Strike[]): void {
  const { random } = stage;
  const kind = random.pick(kinds);
  stage.note(() => `host: ${kind}`);
  switch (kind) {
    case 'spurious wake-up':
      return host.wake();
    case 'spurious interrupt':
      return host.interruptForNothing();
    case 'configuration change':
      return host.changeConfiguration();
    case 'pause':
      return host.pause(random.pick([1, 20, 80]));
    case 'migration':
      return host.migrate();
    case 'long pause':
      stage.excused = true;
      return host.pause(LONG_MS);
    case 'DEVICE_NEEDS_RESET':
      stage.excused = true;
      return host.needReset();
    case 'reset':
      stage.excused = true;
      return host.systemReset();
    case 'death':
      return host.die(1 + random.number(60), random.pick([10, LONG_MS]));
    case 'scribble':
      stage.excused = true;
      return host.scribble();
  }
}
