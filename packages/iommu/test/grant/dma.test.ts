import type { IommuError } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { Direction, DmaAttribute, ScatterEntry } from '../../src/dma-ops.ts';
import { GrantFlag } from '../../src/grant/entry.ts';
import { GRANT_PAGE } from '../../src/grant/dma.ts';
import { GrantStatus } from '../../src/grant/hypervisor.ts';
import { GrantTable } from '../../src/grant/table.ts';
import { BACKEND, GUEST, grantWorld } from './world.ts';

const context = { cpu: 0 };

/** A list of pieces as `[page, offset, sizeBytes]`. */
const listOf = (...pieces: [number, number, number][]): ScatterEntry[] =>
  pieces.map(([page, offset, sizeBytes]) =>
    Object.assign(new ScatterEntry(), { page, offset, sizeBytes }),
  );

describe('grant addresses', () => {
  it('S0.3 100 bytes at 0x5234 with references from 8 on are at 2^63 + 0x8234 [E5]', () => {
    const { dma, device, entry, into } = grantWorld();
    expect(dma.map(context, device, 5, 0x234, 100, Direction.TO_DEVICE, 0, into)).toBe(true);
    expect((BigInt(into.page) << 12n) | BigInt(into.offset)).toBe(2n ** 63n + 0x8234n);
    expect(entry(8)).toEqual({
      flags: GrantFlag.PERMIT_ACCESS | GrantFlag.READ_ONLY,
      domid: BACKEND,
      frame: 5,
    });
  });

  it('S0.4 5000 bytes at 0x5f00 take three references in a row, so their addresses are one range [E6]', () => {
    const { dma, table, device, entry, into } = grantWorld();
    expect(dma.map(context, device, 5, 0xf00, 5000, Direction.FROM_DEVICE, 0, into)).toBe(true);
    expect([into.page, into.offset]).toEqual([GRANT_PAGE + 8, 0xf00]);
    expect([8, 9, 10].map((ref) => entry(ref).frame)).toEqual([5, 6, 7]);
    expect(entry(11).flags).toBe(0);
    dma.unmap(context, device, into.page, into.offset, 5000);
    expect([table.used, entry(8).flags, entry(9).flags, entry(10).flags]).toEqual([0, 0, 0, 0]);
  });

  it('S0.4 a run is found among single free references, and none is an error that leaves no grant [E7]', () => {
    const { dma, table, device, into } = grantWorld(15);
    expect(table.allocate(7)).toBe(8);
    for (const ref of [8, 10, 12, 13, 14]) table.free(ref, 1);
    expect(dma.map(context, device, 20, 0, 3 * 4096, Direction.BIDIRECTIONAL, 0, into)).toBe(true);
    expect(into.page).toBe(GRANT_PAGE + 12);
    expect(dma.map(context, device, 30, 0, 2 * 4096, Direction.BIDIRECTIONAL, 0, into)).toBe(false);
    expect([into.page, table.used]).toEqual([GRANT_PAGE + 12, 5]);
  });

  it('S0.4 a table grows when no run fits, from the free references at its end on', () => {
    const { words } = grantWorld(64);
    const table = new GrantTable({ words, entries: 16 });
    expect(table.allocate(6)).toBe(8);
    expect([table.allocate(5), table.entries]).toEqual([14, 32]);
    expect([table.allocate(20), table.entries]).toEqual([19, 64]);
    expect(table.allocate(26)).toBe(-1);
    expect([table.allocate(25), table.allocate(1), table.used]).toEqual([39, -1, 56]);
  });

  it('S0.6 registers, no direction and no bytes are not granted', () => {
    const { dma, table, device, into } = grantWorld();
    const map = (size: number, direction: Direction, attributes: number) =>
      dma.map(context, device, 5, 0, size, direction, attributes, into);
    expect(map(1, Direction.NONE, 0)).toBe(false);
    expect(map(1, Direction.TO_DEVICE, DmaAttribute.MMIO)).toBe(false);
    expect(map(0, Direction.TO_DEVICE, 0)).toBe(false);
    expect(table.used).toBe(0);
  });

  it('S0.14 only a mask of all 64 bits will do [E11]', () => {
    const { dma, device } = grantWorld();
    dma.checkMask(device, 2n ** 64n - 1n);
    for (const mask of [2n ** 32n - 1n, 2n ** 63n - 1n])
      expect(() => dma.checkMask(device, mask)).toThrow(
        expect.objectContaining({ code: 'EIO' } satisfies Partial<IommuError>),
      );
  });
});

describe('lists and coherent memory', () => {
  it('S0.6 a list has an address for each piece, and unmapping it ends every grant', () => {
    const { dma, table, device, entry } = grantWorld();
    const list = listOf([5, 10, 20], [9, 0, 8192], [7, 5000, 10]);
    expect(dma.mapList(context, device, list, 3, Direction.TO_DEVICE, 0)).toBe(3);
    expect(list.map(({ dmaPage }) => dmaPage - GRANT_PAGE)).toEqual([8, 9, 11]);
    expect(list.map(({ dmaOffset }) => dmaOffset)).toEqual([10, 0, 5000 - 4096]);
    expect([8, 9, 10, 11].map((ref) => entry(ref).frame)).toEqual([5, 9, 10, 8]);
    dma.unmapList(context, device, list, 3, Direction.TO_DEVICE, 0);
    expect([table.used, ...list.map(({ dmaSizeBytes }) => dmaSizeBytes)]).toEqual([0, 0, 0, 0]);
  });

  it('S0.6 the third of three pieces finds no reference: the first two are given back [E10]', () => {
    const { dma, table, device, entry } = grantWorld(11);
    const list = listOf([5, 0, 10], [6, 0, 10], [7, 0, 8192]);
    expect(dma.mapList(context, device, list, 3, Direction.FROM_DEVICE, 0)).toBe('EIO');
    expect([table.used, entry(8).flags, entry(9).flags]).toEqual([0, 0, 0]);
    expect(list.map(({ dmaSizeBytes }) => dmaSizeBytes)).toEqual([0, 0, 0]);
  });

  it('S0.6 coherent memory is granted for writing from its first page on, and goes back whole', () => {
    const { dma, table, ram, device, entry } = grantWorld();
    const memory = dma.allocateCoherent(context, device, 5000);
    expect(memory).toEqual({ page: 0x100, sizeBytes: 8192, dmaPage: GRANT_PAGE + 8 });
    expect(entry(9)).toEqual({ flags: GrantFlag.PERMIT_ACCESS, domid: BACKEND, frame: 0x101 });
    if (memory !== undefined) dma.freeCoherent(context, device, memory);
    expect([table.used, ram.out.size]).toEqual([0, 0]);
  });

  it('S0.6 coherent memory without references leaves no page behind', () => {
    const { dma, ram, device } = grantWorld(9);
    expect(dma.allocateCoherent(context, device, 8192)).toBeUndefined();
    expect(ram.out.size).toBe(0);
  });
});

describe('a back-end that holds on', () => {
  it('S0.8 breaks the device for good, and the page is never used again [E8]', () => {
    const { dma, table, hypervisor, ram, log, device, into } = grantWorld();
    const memory = dma.allocateCoherent(context, device, 4096);
    expect(dma.map(context, device, 5, 0, 100, Direction.FROM_DEVICE, 0, into)).toBe(true);
    const handle = hypervisor.mapGrant(GUEST, 9, BACKEND, false);
    expect(hypervisor.frameOf(handle)).toBe(5);
    dma.unmap(context, device, into.page, into.offset, 100);
    expect([dma.broken, log.counters.grantBroken, table.used]).toEqual([true, 1, 2]);

    expect(dma.map(context, device, 6, 0, 100, Direction.TO_DEVICE, 0, into)).toBe(false);
    expect(dma.allocateCoherent(context, device, 4096)).toBeUndefined();
    if (memory !== undefined) dma.freeCoherent(context, device, memory);
    expect(ram.out.has(0x100)).toBe(true);
    // Too late: it stays broken.
    hypervisor.unmapGrant(handle);
    dma.unmap(context, device, into.page, into.offset, 100);
    expect([dma.broken, table.used, log.counters.grantBroken]).toEqual([true, 2, 1]);
  });
});

describe('the hypervisor', () => {
  it('S0.5 maps what is read-only for reading alone, for nobody else, and nothing that is free [E9]', () => {
    const { dma, hypervisor, device, words, into } = grantWorld();
    dma.map(context, device, 5, 0, 100, Direction.TO_DEVICE, 0, into);
    expect(hypervisor.mapGrant(GUEST, 8, BACKEND, false)).toBe(GrantStatus.GENERAL_ERROR);
    expect(hypervisor.mapGrant(GUEST, 8, BACKEND + 1, true)).toBe(GrantStatus.GENERAL_ERROR);
    expect(hypervisor.mapGrant(GUEST, 9, BACKEND, true)).toBe(GrantStatus.GENERAL_ERROR);
    expect(hypervisor.mapGrant(GUEST, words.length / 2, BACKEND, true)).toBe(GrantStatus.BAD_GRANT);
    expect(hypervisor.mapGrant(GUEST + 1, 8, BACKEND, true)).toBe(GrantStatus.BAD_DOMAIN);
    expect(hypervisor.unmapGrant(0)).toBe(GrantStatus.BAD_HANDLE);
    expect(hypervisor.mapGrant(GUEST, 8, BACKEND, true)).toBeGreaterThanOrEqual(0);
  });

  it('S0.7 marks a page while it is mapped: writing ends with the last writer, both with the last mapping', () => {
    const { dma, table, hypervisor, device, entry, into } = grantWorld();
    dma.map(context, device, 5, 0, 100, Direction.BIDIRECTIONAL, 0, into);
    const reader = hypervisor.mapGrant(GUEST, 8, BACKEND, true);
    const writer = hypervisor.mapGrant(GUEST, 8, BACKEND, false);
    const { PERMIT_ACCESS, READING, WRITING } = GrantFlag;
    expect(entry(8).flags).toBe(PERMIT_ACCESS | READING | WRITING);
    hypervisor.unmapGrant(writer);
    expect(entry(8).flags).toBe(PERMIT_ACCESS | READING);
    expect(table.endAccess(8)).toBe(false);
    hypervisor.unmapGrant(reader);
    expect(entry(8).flags).toBe(PERMIT_ACCESS);
    expect(hypervisor.unmapGrant(reader)).toBe(GrantStatus.BAD_HANDLE);
    expect(table.endAccess(8)).toBe(true);
    expect(hypervisor.mapGrant(GUEST, 8, BACKEND, true)).toBe(GrantStatus.GENERAL_ERROR);
  });

  it('S0.7 has no more mappings than it has handles', () => {
    const { dma, hypervisor, device, into } = grantWorld();
    dma.map(context, device, 5, 0, 100, Direction.BIDIRECTIONAL, 0, into);
    while (hypervisor.mapGrant(GUEST, 8, BACKEND, true) >= 0);
    expect(hypervisor.mapGrant(GUEST, 8, BACKEND, true)).toBe(GrantStatus.NO_SPACE);
    expect(hypervisor.mapped).toBe(4096);
    for (let handle = 0; handle < 4096; handle += 1) hypervisor.unmapGrant(handle);
    expect(hypervisor.mapped).toBe(0);
  });
});
