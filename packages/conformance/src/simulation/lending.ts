/** What drivers of engines do with memory: the calls of the DMA API, each with a look at what it did. */

import { Concurrency, IommuError } from '@viommu/common';
import { Direction, DmaAddress, DmaAttribute, type DmaOps, ScatterEntry } from '@viommu/iommu';
import type { Device } from '@viommu/iommu';
import { Loan, Piece, pagesOf } from './buffer.ts';
import type { Engine } from './engine.ts';
import type { Guest } from './guest.ts';
import { RESERVED } from './plan.ts';

const { TO_DEVICE, FROM_DEVICE, BIDIRECTIONAL } = Direction;
const DIRECTIONS = [BIDIRECTIONAL, TO_DEVICE, FROM_DEVICE] as const;
const SIZES = [4096, 1, 100, 4095, 4097, 8192, 12_288, 20_000] as const;
const OFFSETS = [0, 0, 100, 4000] as const;
/** More pieces than the driver shows the device together. */
const LONG_LIST = 20;
const LATER = DmaAttribute.LATER;

/** The memory of all engines. */
export class Lending {
  /** Contexts that have begun something and not ended it. */
  underWay = 0;
  readonly #guest: Guest;

  constructor(guest: Guest) {
    this.#guest = guest;
    guest.endLoan = (engine, loan) => this.end(engine, loan, 0);
  }

  /** Maps one buffer. */
  lend(engine: Engine, cpu: number, attributes = 0): void {
    const { random } = this.#guest.stage;
    const direction = random.pick(DIRECTIONS);
    const piece = this.#newPiece(engine, random.pick(OFFSETS), random.pick(SIZES));
    if (piece === undefined) return;
    const loan = this.#begin(engine, 'single', direction, [piece]);
    const into = new DmaAddress();
    this.#context(engine, ({ device, ops }) => {
      const { page, offset, bytes } = piece;
      this.#note(engine, `maps ${bytes} bytes at page ${page}`, cpu);
      const done = ops.map({ cpu }, device, page, offset, bytes, direction, attributes, into);
      if (!done) return this.#refused(engine, loan);
      loan.placeAt(into.page, into.offset);
      if ((attributes & LATER) === 0) this.#placed(engine, loan);
      else if (ops.finishMap(device, into.page, into.offset, bytes)) this.#placed(engine, loan);
      else {
        ops.unmap({ cpu }, device, into.page, into.offset, bytes, direction, 0);
        this.#refused(engine, loan);
      }
    });
  }

  /** Maps a list of buffers. */
  lendList(engine: Engine, cpu: number): void {
    const { random } = this.#guest.stage;
    const direction = random.pick(DIRECTIONS);
    const pieces: Piece[] = [];
    const long = random.once(2);
    for (
      let count = long ? LONG_LIST + random.number(20) : 1 + random.number(5);
      count > 0;
      count -= 1
    ) {
      const size = long ? 4096 : random.pick(SIZES);
      const piece = this.#newPiece(engine, long ? 0 : random.pick(OFFSETS), size);
      if (piece !== undefined) pieces.push(piece);
    }
    // So that no two pieces are one in the other order.
    if (long) pieces.reverse();
    if (pieces.length === 0) return;
    const loan = this.#begin(engine, 'list', direction, pieces);
    const list = pieces.map(({ page, offset, bytes }) =>
      Object.assign(new ScatterEntry(), { page, offset, sizeBytes: bytes }),
    );
    this.#context(engine, ({ device, ops }) => {
      this.#note(engine, `maps a list of ${list.length}`, cpu);
      const segments = ops.mapList({ cpu }, device, list, list.length, direction, 0);
      if (typeof segments !== 'number') return this.#refused(engine, loan);
      loan.placeList(list, segments);
      this.#placed(engine, loan);
    });
  }

  /** Takes memory that both use. */
  lendCoherent(engine: Engine, cpu: number): void {
    const { stage, memory } = this.#guest;
    const bytes = stage.random.pick([4096, 8192, 10_000]);
    const loan = this.#begin(engine, 'coherent', BIDIRECTIONAL, []);
    this.#context(engine, ({ device, ops }) => {
      this.#note(engine, `takes ${bytes} coherent bytes`, cpu);
      const taken = ops.allocateCoherent({ cpu }, device, bytes);
      if (taken === undefined) return this.#refused(engine, loan);
      const piece = new Piece(memory, taken.page, 0, taken.sizeBytes);
      stage.check(piece.difference() < 0, 'data', 'coherent memory is not cleared');
      loan.pieces = [piece];
      loan.placeAt(taken.dmaPage, 0);
      this.#placed(engine, loan);
    });
  }

  /** The guest looks into a buffer that is mapped, and changes it. */
  sync(engine: Engine, loan: Loan): void {
    const { stage } = this.#guest;
    const [part] = loan.parts;
    if (part === undefined || loan.kind === 'own') return;
    const { piece, page, offset, bytes } = part;
    this.#context(engine, ({ device, ops }) => {
      this.#note(engine, 'has a buffer synchronised', 0);
      if (loan.kind !== 'coherent')
        ops.syncForCpu({ cpu: 0 }, device, page, offset, bytes, loan.direction);
      if (stage.excused || loan.state !== 'live') return;
      if (loan.kind !== 'list' && loan.direction !== TO_DEVICE) this.#compare(piece);
      if ((loan.direction & TO_DEVICE) === 0) return;
      const at = stage.random.number(bytes);
      const count = Math.min(bytes - at, 100);
      piece.change(stage.random, part.from + at, count);
      const start = piece.offset + part.from + at;
      piece.memory.set(piece.image.subarray(start, start + count), start);
      if (loan.kind === 'coherent') return;
      const place = offset + at;
      const first = page + (place >>> 12);
      ops.syncForDevice({ cpu: 0 }, device, first, place & 0xfff, count, loan.direction);
    });
  }

  /** Unmaps. */
  end(engine: Engine, loan: Loan, cpu: number): void {
    if (loan.state !== 'live') return;
    this.#beginEnd(engine, loan);
    this.#context(engine, ({ device, ops }) => {
      this.#note(engine, `unmaps page ${loan.parts[0]?.page}`, cpu);
      this.#unmap(loan, cpu, device, ops, 0);
      this.#ended(engine, loan);
    });
  }

  /** Unmaps several, with one wait for all of them. */
  endTogether(engine: Engine, loans: readonly Loan[], cpu: number): void {
    const chosen = loans.filter(({ kind, state }) => kind === 'single' && state === 'live');
    if (chosen.length === 0) return;
    for (const loan of chosen) this.#beginEnd(engine, loan);
    const left = [...chosen];
    this.#context(engine, ({ device, ops }) => {
      this.#note(engine, `unmaps ${chosen.length} buffers together`, cpu);
      for (let next = left[0]; next !== undefined; next = left[0]) {
        this.#unmap(next, cpu, device, ops, LATER);
        left.shift();
      }
      ops.finishUnmaps({ cpu }, device);
      for (const loan of chosen) this.#ended(engine, loan);
    });
  }

  /** Runs as a context of its own, which may have to wait and then begins again. */
  #context(engine: Engine, work: (of: { device: Device; ops: DmaOps }) => void): void {
    const { stage, system } = this.#guest;
    const { core } = system;
    this.underWay += 1;
    core.concurrency.run(() => {
      const { device } = engine;
      try {
        if (device?.dmaOps !== undefined) work({ device, ops: device.dmaOps });
      } catch (error) {
        if (Concurrency.unwinds(error)) throw error;
        if (!(error instanceof IommuError)) throw error;
        stage.check(stage.excused, 'call', `a DMA operation throws ${error.code}`);
      }
      this.underWay -= 1;
    });
  }

  #unmap(loan: Loan, cpu: number, device: Device, ops: DmaOps, attributes: number): void {
    const { kind, pieces, parts, direction, list } = loan;
    const [piece] = pieces;
    const [part] = parts;
    if (piece === undefined || part === undefined) return;
    const { page, offset } = part;
    if (kind === 'list') ops.unmapList({ cpu }, device, list, list.length, direction, attributes);
    else if (kind === 'single')
      ops.unmap({ cpu }, device, page, offset, piece.bytes, direction, attributes);
    else {
      const memory = { page: piece.page, sizeBytes: piece.bytes, dmaPage: page };
      if (!this.#guest.stage.excused) this.#compare(piece);
      ops.freeCoherent({ cpu }, device, memory);
    }
  }

  #beginEnd(engine: Engine, loan: Loan): void {
    loan.state = 'ending';
    loan.flushBefore = engine.flushesBegun;
    const { device } = engine;
    const cookie = device?.group?.domain?.cookie;
    // Coherent memory is unmapped like all other; what is untrusted never waits for a flush.
    loan.lazy = cookie?.flushQueue !== undefined && device?.untrusted !== true;
  }

  #ended(engine: Engine, loan: Loan): void {
    const { stage, system } = this.#guest;
    if (loan.lazy && !stage.excused) {
      loan.state = 'limbo';
      loan.flushAfter = engine.flushesBegun;
    } else engine.ended(loan);
    if (loan.kind === 'coherent') return;
    for (const piece of loan.pieces) {
      if (!stage.excused) this.#compare(piece);
      system.ram.freePages(piece.page);
    }
  }

  #compare(piece: Piece): void {
    const at = piece.difference();
    this.#guest.stage.check(
      at < 0,
      'data',
      at >= piece.offset && at < piece.offset + piece.bytes
        ? 'a buffer holds other bytes than it should'
        : 'bytes beside a buffer have changed',
      () => `byte ${at} of ${piece.bytes} from ${piece.offset}`,
    );
  }

  #newPiece({ plan }: Engine, offset: number, bytes: number): Piece | undefined {
    const { memory, system, stage } = this.#guest;
    const page = system.ram.allocatePages(pagesOf(offset, bytes));
    if (page < 0) return undefined;
    // What has its pages to itself needs no copy, unless all has.
    const whole = offset === 0 && bytes % 4096 === 0;
    const bounced = this.#guest.plan.bounced || (plan.untrusted && !whole);
    const piece = new Piece(memory, page, offset, bytes, bounced);
    piece.fill(stage.random);
    return piece;
  }

  #begin(
    engine: Engine,
    kind: 'single' | 'list' | 'coherent',
    direction: Direction,
    pieces: readonly Piece[],
  ): Loan {
    const loan = new Loan({ kind, direction, pieces });
    engine.loans.add(loan);
    return loan;
  }

  #placed(engine: Engine, loan: Loan): void {
    const { stage, plan } = this.#guest;
    loan.state = 'live';
    stage.check(
      stage.excused || engine.reach === 'all' || this.#guest.driver.requests.inFlight === 0,
      'sync',
      'a mapping is told to be there before the device has answered',
    );
    // A device may have come back without its IOMMU.
    if (stage.excused) return;
    engine.placed(loan);
    const last = engine.plan.dmaMask ?? (1n << 64n) - 1n;
    const { inputRange } = plan.device;
    for (const { page, offset, bytes } of loan.parts) {
      const start = BigInt(page) * 4096n + BigInt(offset);
      const end = start + BigInt(bytes) - 1n;
      const reserved = plan.device.endpoints?.[0]?.reserved?.length === 0 ? [] : RESERVED;
      const clear = reserved.every((region) => region.start > end || region.last < start);
      const inside =
        inputRange === undefined || (start >= inputRange.start && end <= inputRange.last);
      stage.check(
        engine.reach === 'all' || (end <= last && clear && inside),
        'address',
        'an address is given out that the device must not use',
        () => `0x${start.toString(16)}`,
      );
    }
  }

  #refused(engine: Engine, loan: Loan): void {
    // What there was of a list before one of its buffers was refused waits for a flush, if the domain is lazy.
    if (loan.kind === 'list') engine.device?.group?.domain?.cookie?.drain();
    engine.loans.delete(loan);
    for (const { page } of loan.pieces) this.#guest.system.ram.freePages(page);
    this.#mayRefuse(
      engine,
      loan.pieces.some(({ bounced }) => bounced),
    );
  }

  /** Memory can be short; nothing else keeps a guest from mapping. */
  #mayRefuse(engine: Engine, bounced: boolean): void {
    const { stage, plan } = this.#guest;
    this.#note(engine, 'is refused', 0);
    const small = (plan.device.inputRange?.last ?? 0n) < 0xff_ffffn;
    const short = bounced || small || plan.device.limits !== undefined;
    stage.check(stage.excused || short, 'call', 'a mapping is refused for no reason');
  }

  #note({ plan }: Engine, what: string, cpu: number): void {
    this.#guest.stage.note(() => `${plan.name}${cpu === 0 ? '' : `, cpu ${cpu}`}: ${what}`);
  }
}
