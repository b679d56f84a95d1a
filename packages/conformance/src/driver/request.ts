/** Features and requests: sections "Feature bits", "Device configuration layout", "Device operations". */

import {
  IommuConfig,
  IommuFeature,
  MapFlag,
  RequestType,
  featureMask,
  featureSet,
  hasFeature,
} from '@viommu/common';
import { type DriverCase, defineDriverCase } from './case.ts';
import type { SeenRequest } from './scripted-device.ts';
import { A, B, C, type DriverSession, page } from './session.ts';

const { MAP, UNMAP, PROBE } = RequestType;
const MMIO = featureMask(IommuFeature.MMIO);
const BYPASS_CONFIG = featureMask(IommuFeature.BYPASS_CONFIG);

/** The last flags that a MAP had. */
function flagsOf(s: DriverSession, from: number): number | undefined {
  const fields = s.requests(MAP, from).at(-1)?.fields;
  return fields?.kind === 'map' ? fields.flags : undefined;
}

/** A MAP of this kind, which the driver must send, and its flags. */
function mapFlags(s: DriverSession, wish: { write: boolean; read?: false; mmio?: true }): number {
  const before = s.device.seen.length;
  s.setUp(s.map(4, 1, A, wish));
  const flags = flagsOf(s, before);
  if (flags === undefined) s.skip('the driver sends no MAP');
  return flags;
}

const writableOf = ({ writableBytes }: SeenRequest): number => writableBytes;

export const REQUEST_CASES: readonly DriverCase[] = [
  ...[[0, 1, 4], [0], [1], [4]].map((bits, turn) =>
    defineDriverCase({
      id: `iommu.drv.features.accept-ranges-and-probe${turn === 0 ? '' : `#${bits[0]}`}`,
      title: `of these, features ${bits.join(', ')} are offered and accepted`,
      device: {
        without: featureSet([0, 1, 4].filter((bit) => !bits.includes(bit))),
      },
      run: (s) => {
        s.up();
        const { accepted } = s.device.registers;
        for (const bit of bits)
          s.check(hasFeature(accepted, bit), `feature ${bit} is offered and not accepted`);
      },
    }),
  ),
  defineDriverCase({
    id: 'iommu.drv.config.bypass-writable',
    title: 'bypass is written only with BYPASS_CONFIG',
    run: (s) => {
      s.up();
      s.supported(s.perform({ kind: 'bypass', value: false }));
      s.must(
        s.ledger.of('iommu.drv.config.bypass-writable').length === 0,
        'bypass is written without BYPASS_CONFIG',
      );
    },
  }),
  defineDriverCase({
    id: 'iommu.drv.config.bypass-writable#withheld',
    title: 'bypass is not written without BYPASS_CONFIG',
    device: { without: BYPASS_CONFIG },
    run: (s) => {
      s.up();
      s.supported(s.perform({ kind: 'bypass', value: false }));
      s.must(
        s.ledger.of('iommu.drv.config.bypass-writable').length === 0,
        'bypass is written without BYPASS_CONFIG',
      );
    },
  }),
  ...[false, true].map((value) =>
    defineDriverCase({
      id: `iommu.drv.config.bypass-write-value${value ? '' : '#off'}`,
      title: `${value ? 'on' : 'off'} is written as ${value ? 1 : 0}`,
      run: (s) => {
        s.up();
        s.setUp(s.perform({ kind: 'bypass', value }));
        s.judge();
        s.check(
          s.device.registers.config.getUint8(IommuConfig.offset.bypass) === (value ? 1 : 0),
          'bypass has another value than asked for',
        );
      },
    }),
  ),
  defineDriverCase({
    id: 'iommu.drv.init.map-unmap-capable',
    title: 'who accepts MAP_UNMAP sends MAP and UNMAP',
    run: (s) => {
      s.attached();
      if (!s.device.has(IommuFeature.MAP_UNMAP)) s.skip('the driver does not accept MAP_UNMAP');
      s.map(0);
      s.unmap(0);
      s.check(
        s.requests(MAP).length > 0 && s.requests(UNMAP).length > 0,
        'no MAP or no UNMAP was sent',
      );
    },
  }),
  defineDriverCase({
    id: 'iommu.drv.req.input-range#edges',
    title: 'nothing is sent for addresses beyond either end of the input range',
    device: { config: { inputRangeStart: page(0), inputRangeEnd: page(16) - 1n } },
    run: (s) => {
      s.attached();
      for (const first of [-1, 15, 16]) s.map(first, 2);
      s.setUp(s.map(0, 16));
      s.unmap(0, 17);
      s.unmap(0, 16);
      s.judge();
    },
  }),
  defineDriverCase({
    id: 'iommu.drv.req.input-range#within-a-page',
    title: 'pages that the input range holds in part are not used',
    device: { config: { inputRangeStart: page(0) + 1n, inputRangeEnd: page(16) - 2n } },
    run: (s) => {
      s.attached();
      for (const first of [0, 15]) s.map(first);
      s.setUp(s.map(1, 14));
      s.judge();
    },
  }),
  defineDriverCase({
    id: 'iommu.drv.req.domain-range#three-of-two',
    title: 'of three domains only the two of the range are used',
    device: { config: { domainRangeStart: 5, domainRangeEnd: 6 }, without: BYPASS_CONFIG },
    run: (s) => {
      s.up();
      for (const endpoint of [A, B, C]) s.attach(endpoint);
      s.judge();
    },
  }),
  defineDriverCase({
    id: 'iommu.drv.req.domain-range#none-but-one',
    title: 'a range of one domain is not left',
    device: {
      config: { domainRangeStart: 0xffff_ffff, domainRangeEnd: 0xffff_ffff },
      without: BYPASS_CONFIG,
    },
    run: (s) => {
      s.up();
      for (const endpoint of [A, B]) s.attach(endpoint);
      s.judge();
    },
  }),
  defineDriverCase({
    id: 'iommu.drv.map.mmio-flag-for-registers',
    title: 'a mapping of registers has the MMIO flag',
    run: (s) => {
      s.attached();
      s.check(
        (mapFlags(s, { write: true, mmio: true }) & MapFlag.MMIO) !== 0,
        'the MMIO flag is not set',
      );
    },
  }),
  defineDriverCase({
    id: 'iommu.drv.map.mmio-flag-needs-feature',
    title: 'without the feature no MAP has the MMIO flag',
    device: { without: MMIO },
    run: (s) => {
      s.attached();
      s.supported(s.map(4, 1, A, { mmio: true }));
      s.map(5);
      s.judge();
    },
  }),
  ...[false, true].map((write) =>
    defineDriverCase({
      id: `iommu.drv.map.read-flag-for-readable${write ? '#write' : ''}`,
      title: `a mapping to read${write ? ' and write' : ''} has the READ flag`,
      run: (s) => {
        s.attached();
        const flags = mapFlags(s, { write });
        s.check((flags & MapFlag.READ) !== 0, 'the READ flag is not set');
        if (!write)
          s.should((flags & MapFlag.WRITE) === 0, 'a mapping that is only read has the WRITE flag');
      },
    }),
  ),
  defineDriverCase({
    id: 'open.4.8#huge-granule',
    title: 'with pages of 64 KiB no MAP is made of less',
    device: { config: { pageSizeMask: 0xffff_ffff_ffff_0000n } },
    run: (s) => {
      s.up();
      s.attach(A);
      s.map(0);
      s.map(16, 16);
      s.must(
        s.ledger.breaches('advice.map.alignment') === 0,
        'a MAP is not made of pages of the device',
      );
    },
  }),
  defineDriverCase({
    id: 'open.4.3#granule-1',
    title: 'with pages of one byte whole pages of memory can be mapped',
    device: { config: { pageSizeMask: 0xffff_ffff_ffff_ffffn } },
    run: (s) => {
      s.attached();
      s.must(s.map(0).result === 'ok' && s.unmap(0).result === 'ok', 'the driver cannot map');
    },
  }),
  defineDriverCase({
    id: 'open.6.5',
    title: 'a probe_size of 0 does no harm',
    device: { config: { probeSize: 0 } },
    run: (s) => {
      s.attached();
      s.must(s.map(0).result === 'ok', 'the driver cannot map');
      s.note(
        `${s.requests(PROBE).length} PROBEs, room ${s.requests(PROBE).map(writableOf).join(', ')}`,
      );
    },
  }),
];
