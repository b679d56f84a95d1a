/**
 * A device that does DMA: in the host its accesses, which go wherever it likes, and in the guest what it may reach. No
 * access gets anywhere else, and none is refused that must not be.
 */

import { MapFlag } from '@viommu/common';
import type { Translation } from '@viommu/device';
import type { Device } from '@viommu/iommu';
import type { SharedMemory } from '@viommu/ring';
import { type Loan, type Part, pagesOf } from './buffer.ts';
import type { Host } from './host.ts';
import type { EnginePlan } from './plan.ts';
import type { Stage } from './stage.ts';

const { READ, WRITE } = MapFlag;
const PAGE = 4096;
const REMEMBERED = 12;

/** What it reaches besides its loans: nothing, or all of memory; or it is on the way from one to the other. */
export type Reach = 'loans' | 'all' | 'moving' | 'outside';

export interface EngineOptions {
  readonly stage: Stage;
  readonly host: Host;
  readonly memory: SharedMemory;
  readonly plan: EnginePlan;
  /** True if an endpoint without a domain reaches everything. */
  readonly bypass: () => boolean;
  /** The pages that buffers bounce in. */
  readonly pool: { contains(page: number): boolean } | undefined;
}

export class Engine {
  readonly plan: EnginePlan;
  /** As the guest has it while it is plugged in. */
  device: Device | undefined = undefined;
  reach: Reach = 'outside';
  readonly loans: Set<Loan> = new Set();
  /** Flushes of its domain that began, and the last of those that ended. */
  flushesBegun = 0;
  flushesEnded = 0;
  readonly #options: EngineOptions;
  /** First pages of what it has had. */
  readonly #before: number[] = [];

  constructor(options: EngineOptions) {
    this.#options = options;
    this.plan = options.plan;
  }

  /** A flush of its domain: what was unmapped before it is out of reach after it. */
  watchFlush(flush: () => void): void {
    this.flushesBegun += 1;
    const number = this.flushesBegun;
    flush();
    this.flushesEnded = Math.max(this.flushesEnded, number);
    for (const loan of this.loans)
      if (loan.state === 'limbo' && loan.flushAfter < number) this.loans.delete(loan);
  }

  /** A loan has its addresses: they are nobody else's. */
  placed(loan: Loan): void {
    const { stage } = this.#options;
    for (const { page, offset, bytes } of loan.parts)
      for (let n = page; n < page + pagesOf(offset, bytes); n += 1) {
        const other = this.#loanAt(n, loan);
        const free = other !== undefined && this.#isFree(other);
        stage.check(
          other === undefined || free || this.reach !== 'loans',
          'address',
          'an address is given out twice',
          () => `page ${n} of ${this.plan.name}`,
        );
        if (free && other.state === 'limbo') this.loans.delete(other);
      }
  }

  /** A loan is over: nothing reaches it any more. */
  ended(loan: Loan): void {
    this.loans.delete(loan);
    for (const { page } of loan.parts) this.#before.push(page);
    this.#before.splice(0, this.#before.length - REMEMBERED);
  }

  /** An access of the device. */
  access(): void {
    const { random } = this.#options.stage;
    const access = random.once(2) ? WRITE : READ;
    const loan = [...this.loans][random.number(Math.max(1, this.loans.size))];
    const part = loan?.parts[random.number(loan.parts.length || 1)];
    if (loan !== undefined && part !== undefined && !random.once(3))
      this.#within(loan, part, access);
    else this.#outside(this.#pageBeside(part), access);
  }

  /** Some bytes of what it has. */
  #within(loan: Loan, part: Part, access: number): void {
    const { stage, memory } = this.#options;
    const { random } = stage;
    const skip = random.number(part.bytes);
    const bytes = 1 + random.number(Math.min(part.bytes - skip, 300));
    const at = part.offset + skip;
    const page = part.page + (at >>> 12);
    const found = this.#translate(page, at & 0xfff, bytes, access);
    const pages = pagesOf(at & 0xfff, bytes);
    for (let n = 0; n < pages; n += 1) this.#judge(page + n, access, found !== undefined);
    if (found === undefined || stage.excused || loan.state !== 'live') return;
    if (this.reach === 'moving' || (loan.direction & access) === 0) return;
    const { piece } = part;
    const image = piece.image.subarray(piece.offset + part.from + skip).subarray(0, bytes);
    if (access === WRITE) piece.change(random, part.from + skip, bytes);
    let done = 0;
    for (let n = 0; n < found.count; n += 1) {
      const length = found.length[n]!; // Below the count, as the others.
      const physical = found.physPage[n]! * PAGE + found.physOffset[n]!;
      const position = memory.locate(physical % 2 ** 32, Math.floor(physical / 2 ** 32), length);
      this.#checkPlace(part, skip + done, physical, position);
      const moved = image.slice(done, done + length);
      if (access === WRITE) memory.write(position, moved, 0, length);
      else {
        const seen = new Uint8Array(length);
        memory.read(position, seen, 0, length);
        const same = seen.every((byte, index) => byte === moved[index]);
        stage.check(same, 'data', 'a device reads other bytes than were mapped');
      }
      done += length;
    }
    stage.check(done === bytes, 'access', 'a translation has another length');
    if (piece.bounced && this.plan.untrusted && this.reach === 'loans') this.#checkRest(loan, part);
  }

  /** A bounced byte lies in the pool, any other where it was mapped to. */
  #checkPlace(part: Part, skip: number, physical: number, position: number): void {
    const { stage, pool } = this.#options;
    const { piece } = part;
    const meant = piece.page * PAGE + piece.offset + part.from + skip;
    const right = piece.bounced
      ? pool?.contains(Math.floor(physical / PAGE)) === true
      : physical === meant;
    stage.check(
      position >= 0 && right,
      'access',
      'an access goes to another place',
      () => `0x${physical.toString(16)}, not 0x${meant.toString(16)}`,
    );
  }

  /** An untrusted device finds nothing beside what it was lent. */
  #checkRest(loan: Loan, part: Part): void {
    if ((loan.direction & READ) === 0) return;
    const { memory, stage } = this.#options;
    const found = this.#translate(part.page, 0, PAGE, READ);
    if (found?.count !== 1 || stage.excused || loan.state !== 'live') return;
    const position = memory.locate(found.physPage[0]! * PAGE, 0, PAGE); // There is one piece.
    const page = new Uint8Array(PAGE);
    memory.read(position, page, 0, PAGE);
    const end = part.offset + part.bytes;
    const clean = page.every((byte, at) => byte === 0 || (at >= part.offset && at < end));
    stage.check(clean, 'data', 'an untrusted device sees what was not lent to it');
  }

  #outside(page: number, access: number): void {
    const { stage } = this.#options;
    const found = this.#translate(page, stage.random.number(2) * 4095, 1, access);
    this.#judge(page, access, found !== undefined, found?.physPage[0], found?.kind[0]);
  }

  /** A page next to what it has, one that it had, or any other. */
  #pageBeside(part: Part | undefined): number {
    const { random } = this.#options.stage;
    const before = this.#before[random.number(this.#before.length || 1)];
    switch (random.number(4)) {
      case 0:
        if (before !== undefined) return before;
        break;
      case 1:
        if (part !== undefined) return part.page + pagesOf(part.offset, part.bytes);
        break;
      case 2:
        if (part !== undefined && part.page > 0) return part.page - 1;
        break;
      default:
    }
    return random.pick([0, 0x4_0010, 0xf_ffff, 0x10_0000, 0xf_fff0, 0xf_ffff_ffff]);
  }

  #translate(page: number, offset: number, bytes: number, access: number): Translation | undefined {
    const { host, stage } = this.#options;
    return host.translate(stage.random.pick(this.plan.ids), page, offset, bytes, access);
  }

  /** Was it right to let an access to this page through, or to refuse it? */
  #judge(page: number, access: number, allowed: boolean, physical?: number, kind?: number): void {
    const { stage, bypass } = this.#options;
    // A window for interrupts is no memory.
    if (stage.excused || kind === MSI) return;
    let [must, may] = [false, false];
    for (const loan of this.loans) {
      if ((loan.direction & access) === 0) continue;
      // Before the call returns, only what it leads to is known.
      if (loan.parts.length === 0) may ||= physical === undefined || this.#leadsTo(loan, physical);
      if (loan.partIn(page) === undefined) continue;
      may = true;
      must ||= loan.state === 'live';
    }
    const all = this.reach === 'all' || (this.reach === 'outside' && bypass());
    const same = physical === undefined || physical === page;
    if (all || this.reach === 'moving') may ||= same;
    const where = (): string => `page 0x${page.toString(16)} of ${this.plan.name}, ${this.reach}`;
    if (allowed) stage.check(may, 'access', 'a device reaches what is not mapped for it', where);
    else
      stage.check(
        !must || this.reach === 'moving',
        'access',
        'a device does not reach what is mapped for it',
        where,
      );
  }

  #leadsTo({ pieces }: Loan, physical: number): boolean {
    if (pieces.length === 0) return true;
    if (pieces.some(({ bounced }) => bounced) && this.#options.pool?.contains(physical))
      return true;
    return pieces.some(
      ({ page, image }) => physical >= page && physical < page + image.length / PAGE,
    );
  }

  /** True if the addresses of a loan that is over can be used again: after a flush that began later, if it is lazy. */
  #isFree({ state, lazy, flushBefore }: Loan): boolean {
    if (state !== 'ending' && state !== 'limbo') return false;
    return !lazy || flushBefore < this.flushesEnded;
  }

  #loanAt(page: number, except: Loan): Loan | undefined {
    for (const loan of this.loans)
      if (loan !== except && loan.partIn(page) !== undefined) return loan;
    return undefined;
  }
}

const MSI = 2;
