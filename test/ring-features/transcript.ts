/**
 * What a guest asks of an IOMMU, good and bad, and what comes of it, word by word.
 *
 * Every answer of the device has the status that the standard asks for beside it; `perform` writes down both, so that
 * one wrong answer is seen in any run, and one different answer when two runs are compared.
 */

import {
  AttachFlag,
  AttachRequest,
  DetachRequest,
  MapFlag,
  MapRequest,
  ProbeRequest,
  RequestType,
  Status,
  UnmapRequest,
  formatStatus,
  iova,
} from '@viommu/common';
import { PieceKind, TranslateOutcome } from '@viommu/device';
import {
  type FaultReport,
  NO_STATUS,
  Protection,
  allocPaging,
  attach,
  detach,
  iotlbSync,
  iotlbSyncMap,
  mapPages,
  parseProbe,
  unmapPages,
} from '@viommu/driver';
import { OneThread, type OneThreadOptions, type UsedChain } from './one-thread.ts';

const { OK, UNSUPP, INVAL, RANGE, NOENT, NOMEM } = Status;
const { READ, WRITE } = MapFlag;
const { ATTACH, DETACH, MAP, UNMAP, PROBE } = RequestType;
const PAGE = 0x1000n;

/** The endpoints: of the driver's own domains, and of requests that are written by hand. */
const OWN = 8;
const BY_HAND = 9;
const ALONE = 0x1_0028;
const ABSENT = 77;
/** The domains of requests that are written by hand: away from those that the driver numbers itself. */
const D1 = 0x81;
const D2 = 0x82;
const EMPTY = 0x8f;
const MAPPINGS_MAX = 60;

const DEVICE = {
  endpoints: [
    { id: OWN, reserved: [{ start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' }] },
    { id: BY_HAND, reserved: [{ start: 0x9000_0000n, last: 0x9000_ffffn, type: 'reserved' }] },
    { id: ALONE },
  ],
  inputRange: { start: 0n, last: (1n << 40n) - 1n },
  domainRange: { first: 0, last: 0xff },
  probeSize: 96,
  limits: { mappingsPerDomain: MAPPINGS_MAX },
} as const satisfies Partial<OneThreadOptions>;

/** What came of it. What happens at the same time, or in batches, is written down apart. */
export interface Outcome {
  /** Statuses, properties, translations and fault records, in the order in which they were asked for. */
  readonly answers: readonly string[];
  /** What each UNMAP removed. */
  readonly removed: readonly string[];
  /** By queue: the type of each request, and how many bytes the device says it wrote. */
  readonly used: readonly (readonly string[])[];
  /** What made them, for tests that look closer. */
  readonly machine: OneThread;
}

/** Sends the whole transcript. */
export async function perform(
  options: Pick<OneThreadOptions, 'combination' | 'batchUsed' | 'features' | 'queueSize'>,
): Promise<Outcome> {
  const guest = new Guest(options);
  singleRequests(guest);
  manyRequests(guest);
  wrongRequests(guest);
  await tasks(guest);
  resets(guest);
  translations(guest);
  manyFaults(guest);
  ownDomains(guest);
  return guest.outcome();
}

function singleRequests(guest: Guest): void {
  guest.probe(OWN);
  guest.probe(BY_HAND);
  guest.probe(ALONE);
  guest.probe(ABSENT);
  guest.ask('ATTACH', attachTo(D1, BY_HAND), OK).sync();
  guest.ask('MAP', map(D1, 0x1000n, 0x3fffn, 0xa000n), OK).sync();
  guest.ask('ATTACH to the same', attachTo(D1, BY_HAND), OK).sync();
  guest.ask('ATTACH another', attachTo(D1, ALONE), OK).sync();
  guest.ask('DETACH', detachFrom(D1, ALONE), OK).sync();
  guest.ask('DETACH again', detachFrom(D1, ALONE), INVAL).sync();
}

/** More than any of the rings holds, in one go. */
function manyRequests(guest: Guest): void {
  for (let page = 0x10n; page < 0x30n; page += 1n)
    guest.ask('MAP', map(D1, page * PAGE, page * PAGE + 0xfffn, (page ^ 5n) * PAGE), OK);
  guest.sync();
  // Half of them go, in twos.
  for (let page = 0x10n; page < 0x20n; page += 2n)
    guest.ask('UNMAP', unmap(D1, page * PAGE, page * PAGE + 0x1fffn), OK);
  guest.ask('UNMAP of holes', unmap(D1, 0x10_000n, 0x1f_fffn), OK);
  guest.sync();
}

function wrongRequests(guest: Guest): void {
  // Between good ones, in one batch: nothing of this may touch its neighbours.
  guest
    .ask('ATTACH nobody', attachTo(D2, ABSENT), NOENT)
    .ask('MAP', map(D1, 0x60_0000n, 0x60_0fffn, 0n, READ), OK)
    .ask('an unknown type', Uint8Array.of(0x63, 0, 0, 0), 'none')
    .ask('MAP cut short', map(D1, 0n, 0xfffn, 0n).subarray(0, 20), INVAL)
    .ask('MAP', map(D1, 0x60_1000n, 0x60_1fffn, PAGE, WRITE), OK)
    .ask('a head alone', Uint8Array.of(UNMAP, 0, 0, 0), INVAL)
    .ask('ATTACH beyond the domains', attachTo(0x100, ALONE), RANGE)
    .ask('ATTACH with an unknown flag', attachTo(D2, ALONE, 0x80), INVAL)
    .ask('ATTACH with a reserved byte', reserved(attachTo(D2, ALONE), 16), INVAL)
    .ask('MAP where a region is reserved', map(D1, 0x9000_0000n, 0x9000_0fffn, 0n), INVAL)
    .ask('MAP over another', map(D1, 0x2000n, 0x2fffn, 0n), INVAL)
    .ask('MAP into no domain', map(EMPTY, 0n, 0xfffn, 0n), NOENT)
    .ask('MAP of half a page', map(D1, 0x70_0000n, 0x70_07ffn, 0n), RANGE)
    .ask('MAP to half a page', map(D1, 0x70_0000n, 0x70_0fffn, 0x800n), RANGE)
    .ask('MAP backwards', map(D1, 0x70_1000n, 0x70_0fffn, 0n), INVAL)
    .ask('MAP with an unknown flag', map(D1, 0x70_0000n, 0x70_0fffn, 0n, 8), INVAL)
    .ask('MAP beyond the input range', map(D1, 1n << 40n, (1n << 40n) + 0xfffn, 0n), RANGE)
    .ask('UNMAP of a part', unmap(D1, 0x1000n, 0x1fffn), RANGE)
    .ask('UNMAP of no domain', unmap(EMPTY, 0n, 0xfffn), NOENT)
    .ask('another unknown type', new Uint8Array(36).fill(0xff), 'none')
    .ask('yet another', Uint8Array.of(0, 0, 0, 0), 'none')
    .ask('MAP', map(D1, 0x60_2000n, 0x60_2fffn, 2n * PAGE), OK)
    .ask('DETACH from another', detachFrom(D2, BY_HAND), INVAL)
    .ask('DETACH nobody', detachFrom(D1, ABSENT), NOENT)
    .sync();
  guest
    .ask('ATTACH', attachTo(D2, ALONE), OK)
    .ask('MAP where another endpoint has its region', map(D2, 0x9000_0000n, 0x9000_0fffn, 0n), OK)
    .ask('ATTACH where that is mapped', attachTo(D2, BY_HAND), UNSUPP)
    .ask('DETACH', detachFrom(D2, ALONE), OK)
    .ask('MAP into what is gone', map(D2, 0n, 0xfffn, 0n), NOENT)
    .ask('ATTACH to bypass', attachTo(D2, ALONE, AttachFlag.BYPASS), OK)
    .ask('MAP into bypass', map(D2, 0n, 0xfffn, 0n), INVAL)
    .ask('ATTACH to bypass without the flag', attachTo(D2, BY_HAND), INVAL)
    .ask('DETACH', detachFrom(D2, ALONE), OK)
    .sync();
  // 20 mappings are there; the room of one domain is 60.
  for (let page = 0x800n; page < 0x800n + 42n; page += 1n)
    guest.ask(
      'MAP up to the limit',
      map(D1, page * PAGE, page * PAGE + 0xfffn, 0n),
      page < 0x800n + 40n ? OK : NOMEM,
    );
  guest.sync();
  guest.ask('UNMAP', unmap(D1, 0x80_0000n, 0xff_ffffn), OK).sync();
}

/** Many at once, none of which blocks; each gets its own answer. */
async function tasks(guest: Guest): Promise<void> {
  const { requests } = guest.machine.driver;
  const errors = await Promise.all(
    Array.from({ length: 20 }, (_, index) => {
      const start = 0x40_0000n + BigInt(index >> 1) * PAGE;
      return requests.sendReqAsync(map(D1, start, start + 0xfffn, 0n));
    }),
  );
  guest.say(`tasks: ${errors.map((error) => error ?? 'OK').join(' ')}`);
}

/** Both queues anew, at other sizes, with requests that the device was not shown yet. */
function resets(guest: Guest): void {
  const { driver } = guest.machine;
  guest.ask('MAP before the reset', map(D1, 0x50_0000n, 0x50_0fffn, 0x1000n), OK);
  driver.resetRequestQueue();
  guest.ask('MAP after it', map(D1, 0x50_0000n, 0x50_0fffn, 0n), INVAL).sync();
  for (const size of [5, 8, 2, 7]) {
    driver.resetRequestQueue(size);
    for (let page = 0x500n; page < 0x500n + 10n; page += 1n)
      guest.ask('UNMAP', unmap(D1, page * PAGE, page * PAGE + 0xfffn), OK);
    guest.sync();
  }
  driver.resetEventQueue(2);
  driver.resetEventQueue(4);
}

function translations(guest: Guest): void {
  guest.access(BY_HAND, 0x1010n, 0x20, READ, '0xa010+32');
  guest.access(BY_HAND, 0x1ff8n, 0x1010, WRITE, '0xaff8+4112');
  // Across mappings that lie apart.
  guest.access(BY_HAND, 0x21ff0n, 0x20, READ | WRITE, '0x24ff0+16 0x27000+16');
  guest.access(BY_HAND, 0x60_0ff0n, 0x20, READ, 'MAPPING fault at 0x601000');
  guest.access(BY_HAND, 0x60_0000n, 4, WRITE, 'MAPPING fault at 0x600000');
  guest.access(BY_HAND, 0x1f_ff0n, 0x20, READ, 'MAPPING fault at 0x1fff0');
  guest.access(BY_HAND, 0xff_ffff_fff0n, 0x20, READ, 'MAPPING fault at 0xfffffffff0');
  guest.access(ALONE, 0x1000n, 4, READ, 'DOMAIN fault at 0x1000');
  guest.access(OWN, 0xfee0_1000n, 4, WRITE, 'msi 0xfee01000+4');
}

/** More than the event queue has buffers: the rest is dropped and counted. */
function manyFaults(guest: Guest): void {
  const { machine } = guest;
  for (let page = 0n; page < 10n; page += 1n)
    machine.device.iommu.translateRange(ALONE, iova(page * PAGE), 1, READ);
  guest.tellFaults();
  guest.say(`dropped: ${machine.device.droppedFaults}`);
  guest.access(ALONE, 0xb000n, 4, READ, 'DOMAIN fault at 0xb000');
}

/** The driver's own domains, which take two endpoints in turn. */
function ownDomains(guest: Guest): void {
  const { driver } = guest.machine;
  const endpoint = driver.probeDevice([OWN]);
  const domain = allocPaging(endpoint);
  for (let page = 0; page < 12; page += 1)
    mapPages(domain, 0x100 + 2 * page, 0x4_0000 + page, 1, Protection.READ);
  attach(domain, endpoint);
  guest.say(`domain ${domain.id}`);
  mapPages(domain, 0x200, 0x4_0100, 30, Protection.READ | Protection.WRITE);
  iotlbSyncMap(domain, 0x200, 30);
  guest.access(OWN, 0x10_4ffcn, 4, READ, '0x40002ffc+4');
  guest.access(OWN, 0x20_0000n, 30 * 4096, WRITE, '0x40100000+122880');
  guest.say(`unmapped ${unmapPages(domain, 0x200, 64)} pages`);
  iotlbSync(domain);
  guest.access(OWN, 0x20_0000n, 4, READ, 'MAPPING fault at 0x200000');
  detach(endpoint);
  guest.access(OWN, 0x10_4ffcn, 4, READ, 'DOMAIN fault at 0x104ffc');
  attach(domain, endpoint);
  guest.access(OWN, 0x10_4ffcn, 4, READ, '0x40002ffc+4');
}

/** Asks, and writes down what comes of it. */
class Guest {
  readonly machine: OneThread;
  readonly #answers: string[] = [];
  readonly #removed: string[] = [];
  #asked = 0;

  constructor(options: Parameters<typeof perform>[0]) {
    this.machine = new OneThread({
      ...DEVICE,
      ...options,
      requestQueueSize: options.queueSize ?? 8,
      eventQueueSize: 4,
      observer: {
        unmapped: (domain, { start, last }, removed) => {
          const ranges = removed.map((range) => text(range)).join(' ');
          this.#removed.push(`of ${domain} ${text({ start, last })}: ${ranges}`);
        },
      },
    });
  }

  say(line: string): void {
    this.#answers.push(line);
  }

  /** Adds a request. `none` expects no status: the device does not know the request. */
  ask(name: string, bytes: Uint8Array, expected: Status | 'none'): this {
    this.#asked += 1;
    const number = this.#asked;
    const wanted = expected === 'none' ? 'no status' : formatStatus(expected);
    this.machine.driver.requests.addReq(bytes, {
      requestDone: (_, status) => {
        const got = status === NO_STATUS ? 'no status' : formatStatus(status);
        this.say(`${number} ${name}: ${got}${got === wanted ? '' : `, and not ${wanted}`}`);
      },
    });
    return this;
  }

  sync(): void {
    const error = this.machine.driver.requests.syncReq();
    if (error !== undefined) this.say(`sync: ${error}, and not OK`);
  }

  probe(endpoint: number): void {
    const answer = this.machine.driver.requests.sendProbeSync(probeOf(endpoint));
    const result = typeof answer === 'string' ? answer : parseProbe(answer);
    const regions = typeof result === 'string' ? result : result.regions.map(text).join(' ');
    const bytes = typeof answer === 'string' ? '' : ` ${answer.join()}`;
    this.say(`PROBE ${endpoint}: ${regions}${bytes}`);
  }

  /** An access of an endpoint. A refused one interrupts the driver, which then tells the fault. */
  access(
    endpoint: number,
    address: bigint,
    length: number,
    access: number,
    expected: string,
  ): void {
    const { machine } = this;
    const interrupts = machine.interrupts;
    const { iommu } = machine.device;
    const { outcome, translation } = iommu.translateRange(endpoint, iova(address), length, access);
    let got: string;
    if (outcome === TranslateOutcome.FAULT) {
      const reason = ['UNKNOWN', 'DOMAIN', 'MAPPING'][translation.faultReason];
      got = `${reason} fault at 0x${translation.faultAddress().toString(16)}`;
    } else
      got = Array.from({ length: translation.count }, (_, piece) => {
        const kind = translation.kind[piece] === PieceKind.MSI ? 'msi ' : '';
        return `${kind}0x${translation.address(piece).toString(16)}+${translation.length[piece]}`;
      }).join(' ');
    this.say(`access ${endpoint}: ${got}${got === expected ? '' : `, and not ${expected}`}`);
    if (outcome !== TranslateOutcome.FAULT) return;
    if (machine.interrupts === interrupts) this.say('no interrupt, and not one');
    this.tellFaults();
  }

  /** What the event queue holds. */
  tellFaults(): void {
    const { driver, faults } = this.machine;
    while (driver.serveEvents() > 0);
    for (const report of faults.splice(0)) this.say(`  ${faultText(report)}`);
  }

  outcome(): Outcome {
    const used = this.machine.device.queues.map((queues) =>
      queues.flatMap((queue) => queue.used.map(usedText)),
    );
    return { answers: this.#answers, removed: this.#removed, used, machine: this.machine };
  }
}

export function attachTo(domain: number, endpoint: number, flags = 0): Uint8Array {
  return AttachRequest.encode({ type: ATTACH, domain, endpoint, flags });
}

function detachFrom(domain: number, endpoint: number): Uint8Array {
  return DetachRequest.encode({ type: DETACH, domain, endpoint });
}

export function map(
  domain: number,
  virtStart: bigint,
  virtEnd: bigint,
  physStart: bigint,
  flags: number = READ | WRITE,
): Uint8Array {
  return MapRequest.encode({ type: MAP, domain, virtStart, virtEnd, physStart, flags });
}

export function probeOf(endpoint: number): Uint8Array {
  return ProbeRequest.encode({ type: PROBE, endpoint });
}

function unmap(domain: number, virtStart: bigint, virtEnd: bigint): Uint8Array {
  return UnmapRequest.encode({ type: UNMAP, domain, virtStart, virtEnd });
}

function reserved(bytes: Uint8Array, at: number): Uint8Array {
  bytes[at] = 1;
  return bytes;
}

function text({ start, last }: { readonly start: bigint; readonly last: bigint }): string {
  return `0x${start.toString(16)}-0x${last.toString(16)}`;
}

function usedText({ request, writtenBytes }: UsedChain): string {
  return `${request[0] ?? 'event'} ${writtenBytes}`;
}

function faultText({ reason, flags, endpointId, address, outcome }: FaultReport): string {
  return `fault ${reason} flags ${flags} endpoint ${endpointId} at ${address} ${outcome}`;
}
