import { AttachRequest, DetachRequest, Status, iova } from '@viommu/common';
import {
  type Domain,
  type Endpoint,
  Protection,
  allocIdentity,
  allocPaging,
  attach,
  detach,
  freeDomain,
  iovaToPhys,
  mapPages,
  releaseDevice,
  unmapPages,
} from '@viommu/driver';
import { describe, expect, it } from 'vitest';
import { RESERVED, list, region } from './helper/property.ts';
import type { Answer, SeenRequest } from './helper/scripted-device.ts';
import {
  ATTACH,
  DETACH,
  MAP,
  PROBE,
  type Setup,
  UNMAP,
  codeOf,
  ofType,
  setUp,
} from './helper/setup.ts';

const RW = Protection.READ | Protection.WRITE;

/** A driver with an endpoint and a domain, whose device has seen nothing. */
function setUpPair(
  ...args: Parameters<typeof setUp>
): Setup & { endpoint: Endpoint; domain: Domain } {
  const setup = setUp(...args);
  const endpoint = setup.driver.probeDevice([8]);
  const domain = allocPaging(endpoint);
  setup.device.seen.length = 0;
  setup.device.notifications = 0;
  return { ...setup, endpoint, domain };
}

/** Attach and detach requests as text. */
function moves(requests: readonly SeenRequest[]): string[] {
  return requests.flatMap(({ type, view }) => {
    if (type === ATTACH) {
      const { domain, endpoint, flags } = AttachRequest.read(view);
      return [`attach ${endpoint} to ${domain}${flags === 0 ? '' : ` flags ${flags}`}`];
    }
    if (type !== DETACH) return [];
    const { domain, endpoint } = DetachRequest.read(view);
    return [`detach ${endpoint} from ${domain}`];
  });
}

/** Answers requests of `type` with `answer`, from the one numbered `from` on. */
function refuse(
  type: number,
  answer: Answer,
  from = 0,
): (request: SeenRequest) => Answer | undefined {
  let count = 0;
  return (request) => {
    if (request.type !== type) return undefined;
    count += 1;
    return count > from ? answer : undefined;
  };
}

describe('attaching', () => {
  it('S1.10 [A7] the first endpoint: ATTACH, then the mappings in ascending order in one batch; the second: only ATTACH', () => {
    const { driver, device, endpoint, domain } = setUpPair();
    for (const page of [30, 10, 20]) mapPages(domain, page, page, 2, RW);
    expect(device.seen).toEqual([]);
    attach(domain, endpoint);
    expect(device.types).toEqual([ATTACH, MAP, MAP, MAP]);
    expect(device.notifications).toBe(2);
    expect([...(device.model.domains.get(domain.id ?? -1)?.mappings.keys() ?? [])]).toEqual([
      10n * 4096n,
      20n * 4096n,
      30n * 4096n,
    ]);
    attach(domain, driver.probeDevice([9]));
    expect(device.types.slice(4)).toEqual([PROBE, ATTACH]);
    expect(domain.attached.size).toBe(2);
  });

  it('S1.11 [A8] after the last detach nothing is unmapped on the device, and what is left is replayed', () => {
    const { device, endpoint, domain } = setUpPair();
    for (const page of [10, 20, 30]) mapPages(domain, page, page, 1, RW);
    attach(domain, endpoint);
    detach(endpoint);
    expect(device.model.domains.size).toBe(0);
    device.seen.length = 0;
    expect(unmapPages(domain, 20, 1)).toBe(1);
    expect(device.seen).toEqual([]);
    attach(domain, endpoint);
    expect(device.types).toEqual([ATTACH, MAP, MAP]);
  });

  it('to the same domain again sends nothing', () => {
    const { device, endpoint, domain } = setUpPair();
    attach(domain, endpoint);
    attach(domain, endpoint);
    expect(device.types).toEqual([ATTACH]);
  });

  it('S1.15 [A17] to a domain of another IOMMU fails with EINVAL and sends nothing', () => {
    const { device, domain } = setUpPair();
    const other = setUpPair();
    expect(codeOf(() => attach(domain, other.endpoint))).toBe('EINVAL');
    expect([...device.seen, ...other.device.seen]).toEqual([]);
  });

  it('S1.25 moves an endpoint: the old domain loses it, and its own mappings go along on the device', () => {
    const { device, endpoint, domain } = setUpPair();
    const second = allocPaging(endpoint);
    mapPages(domain, 1, 1, 1, RW);
    mapPages(second, 2, 2, 1, RW);
    attach(domain, endpoint);
    attach(second, endpoint);
    expect(moves(device.seen)).toEqual(['attach 8 to 1', 'attach 8 to 2']);
    expect([domain.attached.size, second.attached.size]).toEqual([0, 1]);
    expect([...device.model.domains.keys()]).toEqual([2]);
    expect(iovaToPhys(domain, iova(4096n))).toBe(4096n);
  });

  it('S1.25 [A4] a used length of 0 fails with EIO; the endpoint stays where it was', () => {
    const { device, endpoint, domain } = setUpPair();
    const second = allocPaging(endpoint);
    attach(domain, endpoint);
    device.script = refuse(ATTACH, { status: Status.OK, usedBytes: 0 });
    expect(codeOf(() => attach(second, endpoint))).toBe('EIO');
    expect(endpoint.domain).toBe(domain);
    expect([domain.attached.size, second.attached.size]).toEqual([1, 0]);
  });

  it.each([
    ['a short used length', { usedBytes: 3 }, true],
    ['a long used length', { usedBytes: 5 }, true],
    ['a tail that was not written', { untouched: true }, true],
    ['an undefined status', { status: 200 }, true],
    ['a refusal', { status: Status.IOERR }, false],
  ] as const)('S1.25 [A4] %s: whether the endpoint is stuck', (_, answer, stuck) => {
    const { driver, device, endpoint, domain } = setUpPair();
    const second = allocPaging(endpoint);
    mapPages(domain, 1, 1, 1, RW);
    attach(domain, endpoint);
    device.script = refuse(ATTACH, answer);
    expect(codeOf(() => attach(second, endpoint))).toBe('EIO');
    expect(endpoint.stuck).toBe(stuck);
    expect(driver.log.counters.endpointStuck).toBe(stuck ? 1 : 0);
    expect(second.isStuck(0, 1)).toBe(stuck);
    // The device may have moved it: what it makes of another attach to the same domain is certain.
    device.script = () => undefined;
    device.seen.length = 0;
    attach(domain, endpoint);
    expect(device.types).toEqual(stuck ? [DETACH, ATTACH, MAP] : []);
    expect(endpoint.stuck).toBe(false);
    expect([...device.model.domains.keys()]).toEqual([domain.id]);
    expect(device.model.domains.get(domain.id ?? -1)?.mappings.size).toBe(1);
  });

  it.each([
    [1, 'EIO'],
    [2, 'ENOSYS'],
    [3, 'EIO'],
    [4, 'EINVAL'],
    [5, 'ERANGE'],
    [6, 'ENOENT'],
    [7, 'EFAULT'],
    [8, 'ENOMEM'],
    [200, 'EIO'],
  ])('S1.26 [A5] status %i fails with %s, and no MAP follows', (status, code) => {
    const { device, endpoint, domain } = setUpPair();
    mapPages(domain, 1, 1, 1, RW);
    device.script = refuse(ATTACH, { status });
    expect(codeOf(() => attach(domain, endpoint))).toBe(code);
    expect(device.types).toEqual([ATTACH]);
    expect(endpoint.domain).toBeNull();
    expect(domain.attached.size).toBe(0);
  });

  it('S1.25 [A18] a device with two numbers: if the second is refused the first goes back', () => {
    const { driver, device, domain: old } = setUpPair();
    const endpoint = driver.probeDevice([7, 8]);
    const domain = allocPaging(endpoint);
    attach(old, endpoint);
    device.seen.length = 0;
    device.script = (request) =>
      moves([request])[0] === `attach 8 to ${domain.id}` ? { status: Status.UNSUPP } : undefined;
    expect(codeOf(() => attach(domain, endpoint))).toBe('ENOSYS');
    expect(moves(device.seen)).toEqual(['attach 7 to 2', 'attach 8 to 2', 'attach 7 to 1']);
    expect(endpoint.domain).toBe(old);
    expect([old.attached.size, domain.attached.size]).toEqual([1, 0]);
    expect(endpoint.stuck).toBe(false);
  });

  it('S1.25 [A18] if there was no domain before, the first is detached', () => {
    const { driver, device, domain } = setUpPair();
    const endpoint = driver.probeDevice([7, 8]);
    device.seen.length = 0;
    device.script = refuse(ATTACH, { status: Status.UNSUPP }, 1);
    expect(codeOf(() => attach(domain, endpoint))).toBe('ENOSYS');
    expect(moves(device.seen)).toEqual(['attach 7 to 1', 'attach 8 to 1', 'detach 7 from 1']);
    expect(device.model.domains.size).toBe(0);
  });

  it('S1.25 a replay that fails puts everything back, the old domain’s mappings too', () => {
    const { device, endpoint, domain: old } = setUpPair();
    const domain = allocPaging(endpoint);
    mapPages(old, 1, 1, 1, RW);
    attach(old, endpoint);
    for (const page of [5, 6, 7]) mapPages(domain, page, page, 1, RW);
    device.script = refuse(MAP, { status: Status.NOMEM }, 1);
    // The device takes the first mapping of the new domain, refuses two, and takes those of the old one again.
    const script = device.script;
    let maps = 0;
    device.script = (request, index) => {
      if (request.type === MAP) maps += 1;
      return maps > 3 ? undefined : script(request, index);
    };
    expect(codeOf(() => attach(domain, endpoint))).toBe('ENOMEM');
    expect(endpoint.domain).toBe(old);
    expect([old.attached.size, domain.attached.size]).toEqual([1, 0]);
    expect([...device.model.domains.keys()]).toEqual([old.id]);
    expect([...(device.model.domains.get(old.id ?? -1)?.mappings.keys() ?? [])]).toEqual([4096n]);
    expect(endpoint.stuck).toBe(false);
    device.script = () => undefined;
    attach(domain, endpoint);
    expect(device.model.domains.get(domain.id ?? -1)?.mappings.size).toBe(3);
  });

  it('S1.25 a replay that fails without a domain before ends detached', () => {
    const { device, endpoint, domain } = setUpPair();
    mapPages(domain, 1, 1, 1, RW);
    device.script = refuse(MAP, { status: Status.NOMEM });
    expect(codeOf(() => attach(domain, endpoint))).toBe('ENOMEM');
    expect(moves(device.seen)).toEqual(['attach 8 to 1', 'detach 8 from 1']);
    expect(endpoint.domain).toBeNull();
    expect(domain.failedMaps).toEqual([]);
  });

  it('S1.25 an attach that cannot be undone leaves the endpoint stuck, and its domain number unused', () => {
    const { driver, device, endpoint, domain } = setUpPair();
    mapPages(domain, 1, 1, 1, RW);
    device.script = ({ type }) => (type === ATTACH ? undefined : { status: Status.DEVERR });
    expect(codeOf(() => attach(domain, endpoint))).toBe('EIO');
    expect(endpoint.stuck).toBe(true);
    expect(endpoint.domain).toBeNull();
    expect(driver.log.counters.endpointStuck).toBe(1);
    freeDomain(domain);
    expect(allocPaging(endpoint).id).toBe(2);
    device.script = () => undefined;
    attach(allocPaging(endpoint), endpoint);
    expect(endpoint.stuck).toBe(false);
  });

  it('S1.10 [A7] another endpoint brings the mappings along if the only one in the domain is stuck', () => {
    const { driver, device, endpoint, domain } = setUpPair();
    const other = driver.probeDevice([9]);
    mapPages(domain, 1, 1, 1, RW);
    attach(domain, endpoint);
    // The device moves the endpoint, and does not move it back: it has forgotten the domain.
    const next = allocPaging(endpoint);
    mapPages(next, 5, 5, 1, RW);
    let attaches = 0;
    device.script = ({ type }) => {
      if (type === ATTACH) attaches += 1;
      return type === MAP || attaches > 1 ? { status: Status.NOMEM } : undefined;
    };
    expect(codeOf(() => attach(next, endpoint))).toBe('ENOMEM');
    expect(endpoint.stuck).toBe(true);
    device.script = () => undefined;
    attach(domain, other);
    expect([...(device.model.domains.get(domain.id ?? -1)?.mappings.keys() ?? [])]).toEqual([
      4096n,
    ]);
  });

  it('S1.25 [A25] a reset of the device ends all doubt about a stuck endpoint', () => {
    const { driver, device, endpoint, domain } = setUpPair();
    attach(domain, endpoint);
    device.script = refuse(ATTACH, { usedBytes: 0 });
    expect(codeOf(() => attach(allocPaging(endpoint), endpoint))).toBe('EIO');
    expect(endpoint.stuck).toBe(true);
    device.script = () => undefined;
    driver.freeze();
    device.reset();
    driver.restore();
    expect(endpoint.stuck).toBe(false);
    expect([...device.model.domains.keys()]).toEqual([domain.id]);
  });

  it('fails with EIO at once when the device is lost', () => {
    const { driver, device, endpoint, domain } = setUpPair();
    driver.requests.giveUp('the test says so');
    expect(codeOf(() => attach(domain, endpoint))).toBe('EIO');
    expect(device.seen).toEqual([]);
  });

  it('iommu.drv.resv.no-map-in-region: a domain that maps a reserved region does not get the endpoint', () => {
    const setup = setUp();
    setup.device.script = () => ({ properties: list(64, region(RESERVED, 0x5800n, 0x5900n)) });
    const endpoint = setup.driver.probeDevice([8]);
    setup.device.script = () => undefined;
    const domain = allocPaging(endpoint);
    mapPages(domain, 5, 5, 1, RW);
    setup.device.seen.length = 0;
    expect(codeOf(() => attach(domain, endpoint))).toBe('EINVAL');
    expect(setup.device.seen).toEqual([]);
    unmapPages(domain, 5, 1);
    attach(domain, endpoint);
    expect(codeOf(() => mapPages(domain, 4, 4, 2, RW))).toBe('EINVAL');
    mapPages(domain, 4, 4, 1, RW);
    mapPages(domain, 6, 6, 1, RW);
    // Once the endpoint has left, its region is as good as any.
    detach(endpoint);
    mapPages(domain, 5, 5, 1, RW);
  });
});

describe('requests of attaching', () => {
  it('iommu.drv.attach.reserved-zero: and those of DETACH', () => {
    const { device, endpoint, domain } = setUpPair();
    attach(domain, endpoint);
    detach(endpoint);
    attach(allocIdentity([endpoint]), endpoint);
    expect(device.types).toEqual([ATTACH, DETACH, ATTACH]);
    for (const { type, bytes, view } of device.seen) {
      const value = type === ATTACH ? AttachRequest.read(view) : DetachRequest.read(view);
      expect([...value.reserved0, ...value.reserved1].every((byte) => byte === 0)).toBe(true);
      expect(bytes).toHaveLength(20);
    }
  });

  it('iommu.drv.init.probe-before-attach', () => {
    const { driver, device } = setUp();
    const endpoint = driver.probeDevice([8, 9]);
    attach(allocPaging(endpoint), endpoint);
    expect(device.types).toEqual([PROBE, ATTACH, ATTACH]);
  });

  it('iommu.drv.attach.bypass-flag-existing-bypass: each domain has one flag', () => {
    const { driver, device } = setUp();
    const endpoints = [8, 9, 10].map((id) => driver.probeDevice([id]));
    const [first] = endpoints;
    if (first === undefined) throw new Error('three endpoints');
    for (const domain of [allocIdentity(endpoints), allocPaging(first)])
      for (const endpoint of endpoints) attach(domain, endpoint);
    expect(moves(device.seen)).toEqual([
      'attach 8 to 0 flags 1',
      'attach 9 to 0 flags 1',
      'attach 10 to 0 flags 1',
      'attach 8 to 1',
      'attach 9 to 1',
      'attach 10 to 1',
    ]);
  });
});

describe('detaching', () => {
  it('happens whatever the device says, and is counted', () => {
    const { driver, device, endpoint, domain } = setUpPair();
    attach(domain, endpoint);
    device.script = refuse(DETACH, { status: Status.INVAL });
    releaseDevice(endpoint);
    expect(endpoint.domain).toBeNull();
    expect(domain.attached.size).toBe(0);
    expect(driver.log.counters.detachFailed).toBe(1);
    expect(driver.endpoints.size).toBe(0);
  });

  it('and releasing forgets an endpoint, but not another one with the same number', () => {
    const { driver } = setUpPair();
    const first = driver.probeDevice([30]);
    const second = driver.probeDevice([30, 31]);
    releaseDevice(second);
    expect([driver.endpoints.get(30), driver.endpoints.get(31)]).toEqual([first, undefined]);
    releaseDevice(first);
    expect(driver.endpoints.get(30)).toBeUndefined();
  });

  it('of an endpoint in no domain sends nothing', () => {
    const { device, endpoint } = setUpPair();
    detach(endpoint);
    expect(device.seen).toEqual([]);
  });

  it('forgets what the device would not map or unmap: it has forgotten it all', () => {
    const { driver, device, endpoint, domain } = setUpPair();
    attach(domain, endpoint);
    mapPages(domain, 1, 1, 1, RW);
    driver.requests.syncReq();
    mapPages(domain, 2, 2, 1, RW);
    unmapPages(domain, 1, 1);
    device.script = ({ type }) =>
      type === MAP || type === UNMAP ? { status: Status.DEVERR } : undefined;
    driver.requests.syncReq();
    expect(domain.failedMaps).toEqual([{ startPage: 2, lastPage: 2, error: 'EIO' }]);
    expect(domain.stuckRanges).toEqual([{ startPage: 1, lastPage: 1 }]);
    expect(domain.unmapFailures).toBe(1);
    const other = driver.probeDevice([9]);
    attach(domain, other);
    detach(other);
    expect([domain.failedMaps.length, domain.stuckRanges.length]).toEqual([1, 1]);
    detach(endpoint);
    expect(domain.failedMaps).toEqual([]);
    expect(domain.stuckRanges).toEqual([]);
    expect(ofType(device, DETACH)).toHaveLength(2);
  });
});
