import {
  type CaseResult,
  type CaseText,
  type DeviceTargetFactory,
  TargetFailure,
  coreTarget,
  defineCase,
  runCase,
} from '@viommu/conformance';
import { DeviceStatus } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { changed } from './kit/faulty.ts';

const MUST = 'iommu.dev.map.flags-unknown';
const SHOULD = 'iommu.dev.map.overlap';
const MAY = 'iommu.dev.map.write-only-may-read';

function judged(
  run: CaseText['run'],
  more: Partial<CaseText> = {},
  factory: DeviceTargetFactory = coreTarget,
): Promise<CaseResult> {
  const one = defineCase({ id: MUST, title: 'a case', run, ...more });
  return runCase(one, factory, { format: 'split', now: () => 0 });
}

describe('a broken expectation', () => {
  it.each([
    [MUST, 'fail'],
    ['iommu.dev.map.write-needs-flag', 'fail'],
    [SHOULD, 'warn'],
    ['iommu.dev.probe.too-small-no-property', 'warn'],
    [MAY, 'pass'],
    ['fact.iommu.isolation', 'warn'],
    ['open.4.1', 'warn'],
  ])('of %s is a %s, and says what was expected', async (id, result) => {
    const found = await judged((s) => s.check(false, 'it is blue'), { id });
    expect(found).toMatchObject({ id, result });
    expect(found.evidence[0]).toBe('it is blue');
    expect(found.how).toBeUndefined();
  });

  it('by `must` is a failure whatever the level', async () => {
    expect((await judged((s) => s.must(false, 'lost'), { id: MAY })).result).toBe('fail');
  });

  it('by `should` is a warning, after which the case goes on', async () => {
    const found = await judged((s) => {
      s.should(false, 'one');
      s.note('a note');
      s.should(false, 'two');
    });
    expect(found.result).toBe('warn');
    expect(found.evidence.slice(0, 3)).toEqual(['one', 'two', 'a note']);
  });

  it('of a choice does not cover up a warning', async () => {
    const found = await judged(
      (s) => {
        s.should(false, 'one');
        s.check(false, 'the choice');
      },
      { id: MAY },
    );
    expect(found.result).toBe('warn');
  });
});

describe('a case', () => {
  it('that finds nothing wrong passes, with its notes as evidence', async () => {
    const found = await judged((s) => s.note('it merges'));
    expect(found).toMatchObject({ result: 'pass', evidence: ['it merges'], level: 'MUST' });
    expect(found.section).toContain('MAP request');
  });

  it('is skipped with a reason if a step before its point fails', async () => {
    const found = await judged((s) => void s.attached(s.absent));
    expect(found.result).toBe('skip');
    expect(found.evidence[0]).toBe('cannot be set up: NOENT, used length 4');
  });

  it('is skipped if the target lacks what it needs', async () => {
    const found = await judged((s) => s.must(false, 'it ran'), { needs: ['endpoint', 'pci'] });
    expect(found).toMatchObject({
      result: 'skip',
      evidence: ['the transport of the target is not PCI'],
    });
  });

  it('that nobody can write is skipped without a target', async () => {
    const closed: DeviceTargetFactory = {
      name: 'closed',
      open: () => {
        throw new Error('opened');
      },
    };
    const found = await judged((s) => s.skip(''), { unreachable: 'Nobody knows.' }, closed);
    expect(found).toMatchObject({ result: 'skip', evidence: ['Nobody knows.'] });
  });

  it('ends the target, whatever it comes to', async () => {
    let ended = 0;
    const factory = changed(() => ({ dispose: () => void (ended += 1) }));
    await judged(() => undefined, {}, factory);
    await judged((s) => s.must(false, ''), {}, factory);
    await judged((s) => s.skip(''), {}, factory);
    expect(ended).toBe(3);
  });

  it('has evidence of the steps, and of the last request each byte', async () => {
    const found = await judged((s) => {
      const domain = s.attached();
      s.expect(s.attach(domain, s.absent));
    });
    const text = found.evidence.join('\n');
    expect(text).toContain('ATTACH domain 1 endpoint 8 flags 0: OK, used length 4');
    expect(text).toMatch(/> 0008 {2}4d 00 00 00 +endpoint +77/);
    expect(text).toMatch(/< 0000 {2}06 +status +6 NOENT/);
  });
});

describe('a device that', () => {
  it('dies has crashed, with its last words', async () => {
    const factory = changed(() => ({
      notify: () => {
        throw new TargetFailure('crash', 'signal 6', ['assertion failed']);
      },
    }));
    const found = await judged((s) => void s.attached(), {}, factory);
    expect(found).toMatchObject({ result: 'fail', how: 'crash' });
    expect(found.evidence.slice(0, 2)).toEqual(['signal 6', 'assertion failed']);
  });

  it('throws in this thread has crashed', async () => {
    const factory = changed(() => ({
      notify: () => {
        throw new RangeError('index 7');
      },
    }));
    const found = await judged((s) => void s.attached(), {}, factory);
    expect(found).toMatchObject({ result: 'fail', how: 'crash' });
    expect(found.evidence[0]).toBe('RangeError: index 7');
  });

  it('is elsewhere is not blamed for what is thrown here', async () => {
    const factory = { ...coreTarget, apart: true };
    const found = await judged(
      () => {
        throw new RangeError('index 7');
      },
      {},
      factory,
    );
    expect(found).toMatchObject({ result: 'skip' });
    expect(found.evidence.slice(0, 2)).toEqual([
      'the suite or its target has a mistake',
      'RangeError: index 7',
    ]);
  });

  it('does not come up has a verdict as well', async () => {
    const factory: DeviceTargetFactory = {
      name: 'dead',
      open: () => Promise.reject(new TargetFailure('hang', 'no registers')),
    };
    expect(await judged(() => undefined, {}, factory)).toMatchObject({
      result: 'fail',
      how: 'hang',
      evidence: ['no registers'],
    });
  });

  it('never answers hangs', async () => {
    const silent = changed(() => ({ wait: () => false, notify: () => undefined }));
    const found = await judged((s) => void s.attached(), {}, silent);
    expect(found).toMatchObject({ result: 'fail', how: 'hang' });
  });

  it('serves nothing after the case fails it', async () => {
    const once = changed((target) => {
      let left = 1;
      return {
        notify: (queue) => (left-- > 0 ? target.notify(queue) : undefined),
        wait: (done) => (left >= 0 ? target.wait(done, 0) : done()),
      };
    });
    const found = await judged((s) => void s.attached(), {}, once);
    expect(found).toMatchObject({ result: 'fail', how: 'hang' });
    expect(found.evidence[0]).toBe('a good request never comes back');
  });

  it('asks for a reset instead of an answer falls short, unless the case allows it', async () => {
    const broken = changed((target) => ({
      wait: () => false,
      readStatus: () => {
        const status = target.readStatus();
        // From DRIVER_OK on, once it was read there.
        return (status & DeviceStatus.DRIVER_OK) !== 0 && asked++ > 0
          ? status | DeviceStatus.DEVICE_NEEDS_RESET
          : status;
      },
    }));
    let asked = 0;
    const provoke: CaseText['run'] = (s) => void s.provoke(Uint8Array.of(9, 0, 0, 0));
    const found = await judged(provoke, {}, broken);
    expect(found).toMatchObject({ result: 'fail' });
    expect(found.how).toBeUndefined();
    expect(found.evidence[0]).toBe('the device asks for a reset instead of an answer');
    asked = 0;
    const allowed = await judged(
      (s) => s.check(s.attempt(Uint8Array.of(9, 0, 0, 0)) === undefined, 'answered'),
      { mayBreak: true },
      broken,
    );
    expect(allowed.result).toBe('pass');
  });
});

describe('the id of a case', () => {
  it('must be in the catalogue, up to a name of its own', () => {
    const text = { title: '', run: () => undefined };
    expect(defineCase({ ...text, id: `${SHOULD}#exact` }).level).toBe('SHOULD');
    for (const id of ['iommu.dev.map.overlaps', 'open.99.1', 'fact.x', 'exact'])
      expect(() => defineCase({ ...text, id })).toThrowError(
        `${id} names no clause, open point or fact.`,
      );
  });
});
