/** Reading the configuration: section "Device Configuration Space". */

import { IommuConfig, IommuFeature, MmioRegister, RequestType, featureMask } from '@viommu/common';
import { type DriverCase, defineDriverCase } from './case.ts';
import { clean, works } from './judge.ts';
import { A, page } from './session.ts';

const R = MmioRegister;

export const CONFIG_CASES: readonly DriverCase[] = [
  ...[
    IommuFeature.INPUT_RANGE,
    IommuFeature.DOMAIN_RANGE,
    IommuFeature.PROBE,
    IommuFeature.BYPASS_CONFIG,
  ].map((bit, turn) =>
    defineDriverCase({
      id: `basic.drv.config.check-feature-first${turn === 0 ? '' : `#${bit}`}`,
      title: `without feature ${bit} its fields are not read`,
      device: { without: featureMask(bit) },
      run: (s) => {
        s.up();
        s.attach(A);
        clean(s, 'basic.drv.config.check-feature-first');
      },
    }),
  ),
  ...[4096, 41, 256].map((configBytes, turn) =>
    defineDriverCase({
      id:
        turn === 0
          ? 'basic.drv.config.no-size-limit'
          : `basic.drv.config.only-large-enough${turn === 1 ? '' : `#${configBytes}`}`,
      title: `a configuration space of ${configBytes} bytes is no reason to give up`,
      device: { configBytes },
      run: works,
    }),
  ),
  ...[
    R.Config + IommuConfig.offset.inputRangeEnd,
    R.Config + IommuConfig.offset.inputRangeEnd + 4,
  ].map((half, turn) =>
    defineDriverCase({
      id: `basic.drv.config.no-atomic-wide-read${turn === 0 ? '' : '#high'}`,
      title: `a field that changes behind its ${turn === 0 ? 'low' : 'high'} half is read again`,
      run: (s) => {
        const { registers } = s.device;
        const now = page(0x100) - 1n;
        let changed = false;
        registers.bend = (offset, value) => {
          if (offset === half && !changed) {
            changed = true;
            registers.config.setBigUint64(IommuConfig.offset.inputRangeEnd, now, true);
            registers.generation += 1;
          }
          return value;
        };
        s.up();
        if (!changed) s.skip('the driver does not read the input range');
        s.setUp(s.attach(A));
        s.setUp(s.map(0xff));
        for (const first of [0x100, 0x1000, 0xf_0000]) s.map(first);
        clean(s, 'iommu.drv.req.input-range');
        s.check(registers.reads(half) > 1, 'the half is read once only');
      },
    }),
  ),
  defineDriverCase({
    id: 'basic.drv.config.generation-loop#bump',
    title: 'with another generation afterwards fields are read again',
    run: (s) => {
      const { registers } = s.device;
      const field = R.Config + IommuConfig.offset.pageSizeMask;
      let bumped = false;
      registers.bend = (offset, value) => {
        if (offset === field && !bumped) {
          bumped = true;
          registers.generation += 1;
        }
        return value;
      };
      s.up();
      s.check(registers.reads(field) > 1, 'page_size_mask is read once only');
    },
  }),
  ...(['pageSizeMask', 'inputRange', 'domainRange', 'probeSize'] as const).map((name) =>
    defineDriverCase({
      id: `open.7.12#${name}`,
      title: `a ${name} that makes no sense does no harm`,
      device: {
        config: {
          pageSizeMask: { pageSizeMask: 0n },
          inputRange: { inputRangeStart: page(16), inputRangeEnd: page(0) },
          domainRange: { domainRangeStart: 9, domainRangeEnd: 8 },
          probeSize: { probeSize: 0xffff_fff0 },
        }[name],
      },
      run: (s) => {
        s.note(`the driver is ${s.start().result}`);
        s.attach(A);
        s.map(0);
        if (name === 'domainRange' || name === 'inputRange')
          s.must(s.requests(RequestType.MAP).length === 0, 'a MAP was sent');
      },
    }),
  ),
];
