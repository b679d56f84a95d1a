import { Concurrency, IommuError, type Lock, LockRank } from '@viommu/common';
import { describe, expect, it } from 'vitest';

function holding(lock: Lock, work: () => void): void {
  lock.acquire();
  try {
    work();
  } finally {
    lock.release();
  }
}

describe('locks', () => {
  it('keep other contexts out, and let them in at the release in the order of arrival', () => {
    const concurrency = new Concurrency();
    const lock = concurrency.lock('lock', LockRank.domain);
    const order: string[] = [];
    concurrency.hook = (point) => {
      for (const name of ['second', 'third'])
        concurrency.run(() => holding(lock, () => order.push(name)));
      order.push(point);
    };
    holding(lock, () => {
      order.push('first');
      concurrency.at('race');
      order.push('first again');
    });
    expect(order).toEqual(['first', 'race', 'first again', 'second', 'third']);
    expect(concurrency.parked).toBe(2);
    expect(lock.held).toBe(false);
  });

  it('are taken in the order of their ranks, domains in any, and never twice', () => {
    const concurrency = new Concurrency();
    const group = concurrency.lock('group', LockRank.group);
    const one = concurrency.lock('one', LockRank.domain);
    const two = concurrency.lock('two', LockRank.domain);
    const tree = concurrency.lock('tree', LockRank.iovaTree);
    const acquired = (lock: Lock): string => {
      try {
        lock.acquire();
        lock.release();
        return 'taken';
      } catch (error) {
        return error instanceof IommuError ? error.code : 'broken';
      }
    };
    holding(group, () =>
      holding(one, () =>
        holding(two, () => {
          expect([group, one, two, tree].map(acquired)).toEqual([
            'EDEADLK',
            'EDEADLK',
            'EDEADLK',
            'taken',
          ]);
          expect(acquired(concurrency.lock('other group', LockRank.group))).toBe('broken');
          expect([LockRank.group, LockRank.domain].map((rank) => concurrency.holds(rank))).toEqual([
            true,
            true,
          ]);
          expect(concurrency.holds(LockRank.requests)).toBe(false);
        }),
      ),
    );
    expect(concurrency.holds(LockRank.probe)).toBe(false);
  });

  it('may be released in another order than they were taken', () => {
    const concurrency = new Concurrency();
    const [group, domain, tree] = [
      concurrency.lock('group', LockRank.group),
      concurrency.lock('domain', LockRank.domain),
      concurrency.lock('tree', LockRank.iovaTree),
    ] as const;
    for (const lock of [group, domain, tree]) lock.acquire();
    domain.release();
    expect(concurrency.holds(LockRank.iovaTree)).toBe(true);
    expect(() => domain.release()).toThrow('does not hold it');
    tree.release();
    domain.acquire();
    group.release();
    domain.release();
    expect(concurrency.holds(LockRank.probe)).toBe(false);
  });

  it('belong to a context: another one starts without any', () => {
    const concurrency = new Concurrency();
    const [tree, group] = [
      concurrency.lock('tree', LockRank.iovaTree),
      concurrency.lock('group', LockRank.group),
    ] as const;
    holding(tree, () => {
      concurrency.run(() =>
        holding(group, () => expect(concurrency.holds(LockRank.domain)).toBe(false)),
      );
      expect(concurrency.holds(LockRank.iovaTree)).toBe(true);
    });
  });
});
