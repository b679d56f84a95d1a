/** Section "IOMMU Device / Device configuration layout", the device's side. */

import { IommuConfig } from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';
import type { Session } from '../session.ts';
import { BYPASS_CONFIG } from '../session.ts';
import { settle } from '../place.ts';

const AT = IommuConfig.offset;

/** What no driver may write: one byte at a time, since a device may want a reset after any. */
const ODD_VALUES = [2, 0x80, 0xfe, 0xff] as const;

export const CONFIGURATION_CASES: readonly DeviceCase[] = [
  defineCase({
    id: 'iommu.dev.config.page-size-mask-nonzero',
    title: 'page_size_mask has a bit set',
    start: false,
    run: (s) => s.check(s.config.pageSizeMask !== 0n, 'page_size_mask is 0'),
  }),
  defineCase({
    id: 'iommu.dev.config.page-size-mask-many',
    title: 'page_size_mask may have several bits set',
    start: false,
    run: (s) => s.note(`page_size_mask is 0x${s.config.pageSizeMask.toString(16)}`),
  }),
  defineCase({
    id: 'iommu.dev.config.bypass-initial-one',
    title: 'bypass may be 1 at first',
    needs: ['bypass-config'],
    start: false,
    run: (s) => s.note(`bypass is ${s.config.bypass} at first`),
  }),
  defineCase({
    id: 'iommu.dev.config.bypass-presented-value',
    title: 'bypass reads 0 or 1 at first, and what was written of these afterwards',
    needs: ['bypass-config'],
    start: false,
    run: (s) => {
      checkBit(s, 'at first');
      s.start();
      checkBit(s, 'after initialisation');
      for (const value of [0, 1, 1, 0]) {
        s.config.bypass = value;
        s.check(
          s.config.bypass === value,
          `bypass reads ${s.config.bypass} after ${value} was written`,
        );
      }
    },
  }),
  ...ODD_VALUES.map((value) =>
    defineCase({
      id: `iommu.dev.config.bypass-presented-value#${value}`,
      title: `bypass reads 0 or 1 after ${value} was written, which no driver may do`,
      needs: ['bypass-config'],
      mayBreak: true,
      run: (s) => {
        for (const before of [0, 1]) {
          s.config.bypass = before;
          s.config.bypass = value;
          checkBit(s, `after ${value} was written over ${before}`);
        }
        s.note(`bypass is ${s.config.bypass}, the status 0x${s.target.readStatus().toString(16)}`);
      },
    }),
  ),
  ...[0, 1].map((value) =>
    defineCase({
      id: `iommu.dev.config.bypass-kept-on-device-reset#${value}`,
      title: `a device reset leaves bypass at ${value}`,
      needs: ['bypass-config'],
      // One of the two is not the initial value.
      run: (s) => {
        s.config.bypass = value;
        if (s.config.bypass !== value) s.skip(`bypass cannot be set to ${value}`);
        s.target.writeStatus(0);
        s.check(s.config.bypass === value, `bypass is ${s.config.bypass} after the reset`);
        s.start();
        s.check(
          s.config.bypass === value,
          `bypass is ${s.config.bypass} after the next initialisation`,
        );
      },
    }),
  ),
  defineCase({
    id: 'iommu.dev.config.bypass-restored-on-system-reset',
    title: 'a system reset brings the initial value of bypass back',
    needs: ['bypass-config', 'system-reset'],
    start: false,
    run: (s) => {
      const initial = s.config.bypass;
      s.start();
      s.config.bypass = 1 - initial;
      s.target.reset?.('system');
      s.check(s.config.bypass === initial, `bypass is ${s.config.bypass}, and was ${initial}`);
    },
  }),
  defineCase({
    id: 'open.7.4',
    title: 'a write to bypass without BYPASS_CONFIG being accepted leaves 0 or 1 there',
    needs: ['bypass-config'],
    start: { without: BYPASS_CONFIG },
    mayBreak: true,
    run: (s) => {
      const before = s.config.bypass;
      s.config.bypass = 1 - before;
      const after = s.config.bypass;
      s.check(after === 0 || after === 1, `bypass reads ${after}`);
      s.note(`the write ${after === before ? 'is ignored' : 'is taken'}`);
    },
  }),
  defineCase({
    id: 'open.7.6',
    title: 'writes to fields that only the device may change have no effect',
    mayBreak: true,
    run: (s) => {
      // Not the reserved bytes at the end, which say nothing.
      for (let offset = 0; offset < AT.bypass; offset += 4) {
        const before = fields(s);
        s.target.writeConfig(offset, 4, ((before[offset / 4] ?? 0) ^ 0xffff_ffff) >>> 0);
        s.check(same(fields(s), before), `the word at ${offset} was written`);
        // One byte, and a value that bypass could have.
        const { bypass } = s.config;
        s.target.writeConfig(offset, 1, 1 - bypass);
        s.check(same(fields(s), before), `the byte at ${offset} was written`);
        s.check(s.config.bypass === bypass, `a write of the byte at ${offset} went to bypass`);
      }
    },
  }),
  defineCase({
    id: 'open.7.6#reserved',
    title: 'writes to the reserved bytes behind bypass have no effect',
    mayBreak: true,
    run: (s) => {
      for (const offset of [1, 2, 3].map((more) => AT.bypass + more)) {
        const before = s.target.readConfig(offset, 1);
        s.target.writeConfig(offset, 1, before ^ 0x5a);
        const after = s.target.readConfig(offset, 1);
        s.check(after === before, `the byte at ${offset} reads ${after}, and was ${before}`);
      }
    },
  }),
  ...[2, 4].map((width) =>
    defineCase({
      id: `open.7.7#${width}`,
      title: `a ${8 * width}-bit write to bypass changes no other field, and leaves 0 or 1 there`,
      needs: ['bypass-config'],
      mayBreak: true,
      run: (s) => {
        const before = fields(s);
        const { bypass } = s.config;
        s.target.writeConfig(AT.bypass, width, 1 - bypass);
        s.check(same(fields(s), before), 'another field has changed');
        checkBit(s, 'afterwards');
        s.note(`the write ${s.config.bypass === bypass ? 'is ignored' : 'is taken'}`);
      },
    }),
  ),
  defineCase({
    id: 'open.7.8',
    title: 'the generation may change with a write to bypass',
    needs: ['bypass-config', 'generation'],
    run: (s) => {
      const before = s.target.readGeneration?.();
      s.config.bypass = 1 - s.config.bypass;
      s.note(`it ${s.target.readGeneration?.() === before ? 'stays the same' : 'changes'}`);
    },
  }),
  defineCase({
    id: 'open.7.13',
    title: 'the configuration stays as it is while requests are served',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const before = fields(s);
      const domain = s.attached();
      s.mapped(domain, 0, 4);
      settle(s);
      s.check(same(fields(s), before), 'a field has changed');
    },
  }),
];

function checkBit(s: Session, when: string): void {
  const { bypass } = s.config;
  s.check(bypass === 0 || bypass === 1, `bypass reads ${bypass} ${when}`);
}

/** All words before `bypass`. */
function fields({ target }: Session): number[] {
  const words = AT.bypass / 4;
  return Array.from({ length: words }, (_, word) => target.readConfig(4 * word, 4) >>> 0);
}

function same(one: readonly number[], other: readonly number[]): boolean {
  return one.every((word, index) => word === other[index]);
}
