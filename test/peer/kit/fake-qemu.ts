/**
 * A stand-in for QEMU, as a process: it takes QEMU's command line, speaks qtest over its pipes and has the machine that
 * `@viommu/peers` asks for, with our own device as the IOMMU. So the other side of the pipe is tested where there is no
 * QEMU. The first argument says how it behaves: `well`, `tcg` (has no accelerator `qtest`), `loud` (tells of interrupts
 * before each reply).
 */

import { writeSync } from 'node:fs';

const [mode = '', ...args] = process.argv.slice(2);
const line = args.join(' ');

if (line.includes('-version')) say('QEMU emulator version 7.2.99 (a stand-in)');
else if (line.includes('virtio-iommu-pci,help')) say('  boot-bypass=<bool>\n  packed=<bool>');
else if (line.includes('-device help'))
  say('name "virtio-iommu-pci", bus PCI\nname "sdhci-pci", bus PCI');
else if (mode === 'tcg' && line.includes('-accel qtest')) complain('invalid accelerator qtest');
else {
  const valueOf = (pattern: RegExp): string => pattern.exec(line)?.[1] ?? '';
  // Only now: loading the machine takes longer than all questions about it.
  const { serve } = await import('./fake-machine.ts');
  serve({
    pipe: valueOf(/pipe:(\S+)/),
    ram: valueOf(/mem-path=([^\s,]+)/),
    cards: new Map(
      [...line.matchAll(/file=(\S*card(\d+))/g)].map(([, path = '', slot]) => [Number(slot), path]),
    ),
    bypass: !line.includes('boot-bypass=off'),
    packed: line.includes('packed=on'),
    loud: mode === 'loud',
  });
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function complain(text: string): never {
  writeSync(2, `qemu-system-stand-in: ${text}\n`);
  process.exit(1);
}
