/** A process of its own that runs one machine, says how that ended, and has nothing else to do. */

import { createMachine } from '@viommu/machine/node';

const [source = '', timeoutMs] = process.argv.slice(2);
const machine = createMachine({
  program: `data:text/javascript,${encodeURIComponent(source)}`,
  endpoints: { engine: { kind: 'copy', id: 8 } },
  ...(timeoutMs !== undefined && { timeoutMs: Number(timeoutMs) }),
});
try {
  const { value } = await machine.run();
  process.stdout.write(`value ${String(value)}\n`);
} catch (error) {
  process.stdout.write(`error ${String((error as { code?: unknown }).code)}\n`);
}
