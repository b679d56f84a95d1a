import { spawnSync } from 'node:child_process';
import { percentile, runPairs } from './pair.ts';
const c = process.env['RING_C'];
const samples = await runPairs({
  variants: (
    process.env['ONLY'] ??
    'ping-pong,split poll,split,split indirect,split flags,packed,packed indirect'
  ).split(','),
  batches: [1, 8, 64],
  rounds: Number(process.argv[2] ?? 30),
  windowMs: 4,
  extra: c
    ? {
        'C split': (batch, ms) =>
          Number(spawnSync(c, ['split', `${batch}`, `${ms}`]).stdout.toString()),
      }
    : {},
});
const floor = percentile(samples.find((s) => s.name === 'ping-pong' && s.batch === 1)!.rates, 0.95);
for (const s of samples)
  console.log(
    s.name.padEnd(20),
    String(s.batch).padStart(3),
    (percentile(s.rates, 0.95) / 1e6).toFixed(2),
    (percentile(s.rates, 0.5) / 1e6).toFixed(2),
    'F',
    (floor / percentile(s.rates, 0.95)).toFixed(2),
  );
