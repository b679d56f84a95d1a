/** Starts the peer that its argument names, to keep it; says its number, and is no more. */

import { writeSync } from 'node:fs';
import { PeerProcess } from '@viommu/peers';

const peer = new PeerProcess({
  command: [process.execPath, process.argv[2] ?? '', 'well'],
  args: (folder) => ['-qtest', `pipe:${folder}/q`],
  lifeMs: 60_000,
  kept: true,
});
peer.qtest.write(0n, 1, 0);
writeSync(1, `${peer.pid}\n`);
process.kill(process.pid, 'SIGKILL');
