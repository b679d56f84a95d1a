/**
 * Two contexts of a guest at one domain: what one does at a named point in the middle of what the other does. The real
 * device is at the other end; its tables must be the guest's afterwards, and it must never have had to refuse anything.
 */

import { IommuError, Protection } from '@viommu/common';
import {
  type Domain,
  type Endpoint,
  attach,
  detach,
  freeDomain,
  iotlbSync,
  iotlbSyncMap,
  mapPages,
  unmapPages,
} from '@viommu/driver';
import { describe, expect, it } from 'vitest';
import { OpenConcurrency, RealGuest, RecordedConcurrency } from './real-guest.ts';

const RW = Protection.READ | Protection.WRITE;

class Scene {
  readonly guest: RealGuest;
  readonly first: Endpoint;
  readonly second: Endpoint;
  readonly domain: Domain;
  readonly other: Domain;

  constructor(locked: boolean) {
    this.guest = new RealGuest(locked ? {} : { driver: { concurrency: new OpenConcurrency() } });
    const { driver } = this.guest;
    this.first = driver.probeDevice([1]);
    this.second = driver.probeDevice([2]);
    this.domain = driver.allocPaging(this.first);
    this.other = driver.allocPaging(this.first);
    for (const page of [10, 20, 30]) mapPages(this.domain, page, page, 1, RW);
    mapPages(this.other, 70, 7, 1, RW);
  }

  /** Everything is as it must be, after `action` with `meanwhile` at `point`. */
  sound(point: string, action: (scene: Scene) => void, meanwhile: (scene: Scene) => void): boolean {
    this.guest.at(point, () => meanwhile(this));
    try {
      action(this);
      this.guest.concurrency.hook = undefined;
      this.guest.verify();
    } catch (error) {
      if (
        error instanceof Error &&
        (error.name === 'AssertionError' || error instanceof IommuError)
      )
        return false;
      throw error;
    }
    return this.guest.done.every((line) => !line.startsWith('refused'));
  }
}

/** The three races of the endpoint count, each with what the other context does. */
const RACES: readonly [
  title: string,
  point: string,
  action: (scene: Scene) => void,
  meanwhile: (scene: Scene) => void,
][] = [
  [
    'lost mapping [A9]',
    'attach:afterReplay',
    ({ domain, first }) => attach(domain, first),
    ({ domain }) => {
      mapPages(domain, 15, 15, 1, RW);
      iotlbSyncMap(domain, 15, 1);
    },
  ],
  [
    'stale mapping [A10]',
    'attach:afterReplay',
    ({ domain, first }) => attach(domain, first),
    ({ domain }) => {
      unmapPages(domain, 20, 1);
      iotlbSync(domain);
    },
  ],
  [
    'double MAP',
    'map:afterTree',
    ({ domain }) => {
      mapPages(domain, 15, 15, 1, RW);
      iotlbSyncMap(domain, 15, 1);
    },
    ({ domain, first }) => attach(domain, first),
  ],
];

describe('the count of endpoints', () => {
  it.each(RACES)('S1.12 %s: cannot happen', (_, point, action, meanwhile) => {
    const scene = new Scene(true);
    expect(scene.sound(point, action, meanwhile)).toBe(true);
    expect(scene.guest.concurrency.parked).toBeGreaterThan(0);
    expect(scene.domain.attached.size).toBe(1);
  });

  it.each(RACES)('S1.12 %s: happens without locks', (_, point, action, meanwhile) => {
    const scene = new Scene(false);
    expect(scene.sound(point, action, meanwhile)).toBe(false);
    expect(scene.guest.concurrency.parked).toBe(0);
  });

  it('S1.12 [A9] a mapping that comes during an attach is sent after it', () => {
    const { guest, domain, first } = new Scene(true);
    guest.at('attach:afterReplay', () => mapPages(domain, 15, 15, 1, RW));
    attach(domain, first);
    guest.verify();
    expect(guest.done).toEqual([
      'attach 1 to 1',
      'map 1: 10-10',
      'map 1: 20-20',
      'map 1: 30-30',
      'map 1: 15-15',
    ]);
  });

  it('S1.12 [A10] one that goes during an attach is unmapped after it', () => {
    const { guest, domain, first } = new Scene(true);
    guest.at('attach:afterReplay', () => unmapPages(domain, 20, 1));
    attach(domain, first);
    guest.verify();
    expect(guest.done.slice(-2)).toEqual(['map 1: 30-30', 'unmap 1: 20-20']);
  });

  it('S1.12 two contexts that wait come in as they arrived', () => {
    const { guest, domain, first } = new Scene(true);
    guest.at('attach:afterSend', () => {
      guest.concurrency.run(() => mapPages(domain, 40, 40, 1, RW));
      guest.concurrency.run(() => unmapPages(domain, 40, 1));
    });
    attach(domain, first);
    guest.verify();
    expect(guest.done.slice(-2)).toEqual(['map 1: 40-40', 'unmap 1: 40-40']);
  });
});

describe('the locks of two domains', () => {
  it('S1.12 are taken in the order of their numbers, whichever way an endpoint moves', () => {
    const concurrency = new RecordedConcurrency();
    const { driver } = new RealGuest({ driver: { concurrency } });
    const endpoint = driver.probeDevice([1]);
    const [low, high] = [driver.allocPaging(endpoint), driver.allocPaging(endpoint)];
    // Domain 0 is the bypass domain.
    const all = [...driver.domains].map(({ stateLock }) => stateLock);
    const order = (): number[] => concurrency.taken.map((lock) => all.indexOf(lock));
    attach(low, endpoint);
    for (const to of [high, low]) {
      concurrency.taken.length = 0;
      attach(to, endpoint);
      expect(order()).toEqual([1, 2]);
    }
    concurrency.taken.length = 0;
    driver.freeze();
    expect(order()).toEqual([0, 1, 2]);
  });

  it('S1.12 and a sync of one of them waits for the end of an attach', () => {
    const { guest, domain, first } = new Scene(true);
    const states: unknown[] = [];
    guest.at('attach:afterReplay', () => {
      domain.sync();
      states.push(first.domain);
    });
    attach(domain, first);
    expect(states).toEqual([domain]);
  });
});

const ATTACH_POINTS = ['attach:afterSend', 'attach:afterReplay'] as const;

/** What one context does, what comes before, and the race points it comes by. */
const ACTIONS: readonly {
  readonly name: string;
  readonly before?: (scene: Scene) => void;
  readonly action: (scene: Scene) => void;
  readonly points: readonly string[];
}[] = [
  {
    name: 'attach',
    action: ({ domain, first }) => attach(domain, first),
    points: ATTACH_POINTS,
  },
  {
    name: 'move here',
    before: ({ other, first }) => attach(other, first),
    action: ({ domain, first }) => attach(domain, first),
    points: ATTACH_POINTS,
  },
  {
    name: 'move away',
    before: ({ domain, first }) => attach(domain, first),
    action: ({ other, first }) => attach(other, first),
    points: ATTACH_POINTS,
  },
  {
    name: 'detach',
    before: ({ domain, first }) => attach(domain, first),
    action: ({ first }) => detach(first),
    points: ['detach:afterSend'],
  },
  {
    name: 'map',
    action: ({ domain }) => tolerant(() => mapPages(domain, 15, 15, 2, RW)),
    points: ['map:afterTree'],
  },
  {
    name: 'unmap',
    action: ({ domain }) => void unmapPages(domain, 20, 1),
    points: ['unmap:beforeTree', 'unmap:afterTree'],
  },
];

/** What the other context does meanwhile; it has endpoints of its own. */
const MEANWHILE: Readonly<Record<string, (scene: Scene) => void>> = {
  attachAnother: ({ domain, second }) => attach(domain, second),
  detachAnother: ({ second }) => detach(second),
  moveAnother: ({ other, second }) => attach(other, second),
  mapNew: ({ domain }) => {
    tolerant(() => mapPages(domain, 16, 5, 1, RW));
    iotlbSyncMap(domain, 16, 1);
  },
  mapElsewhere: ({ other }) => {
    tolerant(() => mapPages(other, 71, 5, 1, RW));
    iotlbSyncMap(other, 71, 1);
  },
  unmapSame: ({ domain }) => {
    unmapPages(domain, 20, 1);
    iotlbSync(domain);
  },
  unmapAndMap: ({ domain }) => {
    if (unmapPages(domain, 20, 1) === 1) mapPages(domain, 20, 99, 1, RW);
    iotlbSyncMap(domain, 20, 1);
  },
  free: ({ domain }) => tolerant(() => freeDomain(domain)),
};

/** Lets pass what two contexts may find of one another: a range that is taken, a domain in use. */
function tolerant(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof IommuError && ['EEXIST', 'EBUSY', 'ENODEV'].includes(error.code)))
      throw error;
  }
}

describe('any two contexts', () => {
  const cases = ACTIONS.flatMap(({ points, ...one }) =>
    Object.entries(MEANWHILE).flatMap(([other, meanwhile]) =>
      points.flatMap((point) =>
        // With another endpoint in the domain or without.
        [false, true].map((busy) => ({ ...one, other, meanwhile, point, busy })),
      ),
    ),
  );

  it('S1.12 at every race point: device table and guest tree are equal afterwards', () => {
    let met = 0;
    const reached = new Set<string>();
    for (const { name, before, action, other, meanwhile, point, busy } of cases) {
      const scene = new Scene(true);
      if (busy) attach(scene.domain, scene.second);
      before?.(scene);
      const sound = scene.sound(point, action, (same) => {
        reached.add(point);
        meanwhile(same);
      });
      expect(sound, `${other} at ${point} of ${name}, ${busy ? 'busy' : 'idle'}`).toBe(true);
      if (scene.guest.concurrency.parked > 0) met += 1;
    }
    expect(reached).toEqual(new Set(ACTIONS.flatMap(({ points }) => points)));
    expect(met).toBeGreaterThan(cases.length / 2);
  });

  it('S1.12 the same without locks goes wrong at every point where a lock helps', () => {
    const wrong = new Set<string>();
    for (const { before, action, meanwhile, point, busy } of cases) {
      const scene = new Scene(false);
      if (busy) attach(scene.domain, scene.second);
      before?.(scene);
      if (!scene.sound(point, action, meanwhile)) wrong.add(point);
    }
    expect([...wrong].toSorted()).toEqual([
      'attach:afterReplay',
      'attach:afterSend',
      'detach:afterSend',
      'map:afterTree',
      // Behind it, at `unmap:afterTree`, nothing of an unmap is left to disturb.
      'unmap:beforeTree',
    ]);
  });
});
