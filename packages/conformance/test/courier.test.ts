/** What the suite watches for in every exchange, whichever case sends it. */

import { type DeviceTarget, defineCase, runCase, type Session } from '@viommu/conformance';
import { UsedElement, UsedRing } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { spoiled } from './kit/faulty.ts';

/** Where things are in the memory of the target: the suite's choice, seen from the case. */
interface Seen {
  session: Session | undefined;
}

/** Attaches once, while `spoil` meddles after the device has answered. */
async function meddled(
  spoil: (target: DeviceTarget, session: Session) => void,
): Promise<string | undefined> {
  const seen: Seen = { session: undefined };
  let done = false;
  const one = defineCase({
    id: 'iommu.dev.req.status-ok',
    title: '',
    run: (session) => {
      seen.session = session;
      session.attached();
    },
  });
  const factory = spoiled((target) => {
    if (seen.session === undefined || done) return;
    done = true;
    spoil(target, seen.session);
  });
  const result = await runCase(one, factory, { format: 'split', now: () => 0 });
  // A skip says what the answer was.
  return `${result.result}: ${result.evidence[0] ?? ''}`;
}

/** The position of the byte in memory, that far from the first or last one of the exchange's buffers. */
function answerAt({ running, target }: Session): { request: number; answer: number } {
  const ring = running.requests;
  const view = target.memory.view;
  if (view === undefined) throw new Error('the memory of the core target is mapped');
  const table = Number(ring.layout.descriptorArea - target.window.start);
  const address = (index: number): number =>
    Number(view.getBigUint64(table + 16 * index, true) - target.window.start);
  return { request: address(0), answer: address(1) };
}

function usedAt({ running, target }: Session): number {
  return Number(running.requests.layout.deviceArea - target.window.start) + UsedRing.size;
}

describe('an exchange fails whatever the case if the device', () => {
  it('writes before or behind a buffer', async () => {
    for (const [part, by] of [
      ['request', -1],
      ['request', 20],
      ['answer', -1],
      ['answer', 4],
      ['answer', 19],
    ] as const)
      expect(await meddled(({ memory }, s) => memory.setUint8(answerAt(s)[part] + by, 0))).toMatch(
        /^fail: ATTACH .* the device wrote outside the buffers$/,
      );
  });

  it('writes what it may only read', async () => {
    expect(await meddled(({ memory }, s) => memory.setUint8(answerAt(s).request + 4, 9))).toMatch(
      /^fail: .*the device wrote into the readable part$/,
    );
  });

  it('gives back another chain', async () => {
    expect(
      await meddled(({ memory }, s) => memory.setUint32(usedAt(s) + UsedElement.offset.id, 5)),
    ).toMatch(/^fail: .* comes back under id 5, not 0$/);
  });

  it('claims to have written more than there was room for', async () => {
    expect(
      await meddled(({ memory }, s) => memory.setUint32(usedAt(s) + UsedElement.offset.len, 5)),
    ).toMatch(/^fail: .*the used length 5 is more than the 4 writable bytes$/);
  });

  it('gives a chain back twice', async () => {
    expect(
      await meddled(({ memory }, s) => {
        const at = usedAt(s) - UsedRing.size + UsedRing.offset.idx;
        memory.storeUint16(at, 2);
      }),
    ).toMatch(/^fail: .* comes back more than once$/);
  });
});

describe('an answer', () => {
  it('is what is in the tail, whatever the used length says', async () => {
    expect(await meddled(({ memory }, s) => memory.setUint8(answerAt(s).answer, 8))).toBe(
      'skip: cannot be set up: NOMEM, used length 4',
    );
    expect(
      await meddled(({ memory }, s) => memory.setUint32(answerAt(s).answer, 0xa5a5_a5a5)),
    ).toBe('skip: cannot be set up: nothing written, used length 4');
  });
});
