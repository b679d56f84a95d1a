import { Access, PieceList, Translated } from '@viommu/ring';
import { ENTRY_WORDS, GRANT_PAGE, GrantHypervisor, GrantTable } from '@viommu/iommu';
import { describe, expect, it } from 'vitest';
import { GrantTranslator } from '../src/disk/grant-translator.ts';

const GUEST = 1;
const BACKEND = 3;

/** A guest with a table of 64 references, and a back-end's translator; pages are only numbers. */
function world(handlesMax?: number) {
  const words = new Int32Array(new SharedArrayBuffer(64 * ENTRY_WORDS * 4));
  const table = new GrantTable({ words });
  const hypervisor = new GrantHypervisor(handlesMax === undefined ? {} : { handlesMax });
  hypervisor.addGranter(GUEST, words);
  const translator = new GrantTranslator(hypervisor, GUEST, BACKEND);
  const grant = (page: number, readOnly: boolean): number => {
    const ref = table.allocate(1);
    table.grantAccess(ref, BACKEND, page, readOnly);
    return ref;
  };
  const ask = (page: number, offset: number, bytes: number, access: Access) => {
    const into = new PieceList();
    const outcome = translator.translate(page, offset, bytes, access, into);
    const pieces = Array.from({ length: into.count }, (_, n) => [
      into.page[n],
      into.offset[n],
      into.sizeBytes[n],
    ]);
    return { outcome, pieces };
  };
  return { table, hypervisor, translator, grant, ask };
}

describe('a back-end behind grants', () => {
  it('S0.7 reaches the granted pages, wherever they are, and nothing after they were taken back', () => {
    const { table, translator, grant, ask } = world();
    const first = grant(0x500, false);
    grant(0x300, false);
    expect(ask(GRANT_PAGE + first, 0xff0, 0x20, Access.WRITE)).toEqual({
      outcome: Translated.OK,
      pieces: [
        [0x500, 0xff0, 0x10],
        [0x300, 0, 0x10],
      ],
    });
    expect(table.endAccess(first)).toBe(false);
    const { generation } = translator;
    translator.release();
    expect(translator.generation).not.toBe(generation);
    expect([table.endAccess(first), table.endAccess(first + 1)]).toEqual([true, true]);
    expect(ask(GRANT_PAGE + first, 0, 1, Access.READ).outcome).toBe(Translated.FAULT);
  });

  it('S0.5 does not write what was granted for reading', () => {
    const { grant, ask } = world();
    const ref = grant(0x500, true);
    expect(ask(GRANT_PAGE + ref, 0, 8, Access.READ).outcome).toBe(Translated.OK);
    expect(ask(GRANT_PAGE + ref, 0, 8, Access.WRITE).outcome).toBe(Translated.FAULT);
  });

  it('S0.7 is refused an access that runs from a granted page into one that is not', () => {
    const { grant, ask } = world();
    const ref = grant(0x500, false);
    expect(ask(GRANT_PAGE + ref, 0xfff, 2, Access.READ).outcome).toBe(Translated.FAULT);
  });

  it.each([
    ['an address of the guest', 0x500],
    ['the page below the first reference', GRANT_PAGE - 1],
    ['a reference beyond the table', GRANT_PAGE + 64],
    ['a reference beyond all tables', GRANT_PAGE + 2 ** 32],
  ])('S0.7 is refused %s', (_, page) => {
    expect(world().ask(page, 0, 1, Access.READ).outcome).toBe(Translated.FAULT);
  });

  it('S0.7 is refused what it has no handle for, and holds no more than it did', () => {
    const { hypervisor, translator, grant, ask } = world(2);
    const ref = grant(0x500, false);
    grant(0x501, false);
    grant(0x502, false);
    expect(ask(GRANT_PAGE + ref, 0, 3 * 4096, Access.READ).outcome).toBe(Translated.FAULT);
    translator.release();
    expect(hypervisor.mapped).toBe(0);
    expect(ask(GRANT_PAGE + ref, 0, 2 * 4096, Access.READ).outcome).toBe(Translated.OK);
  });
});
