/** Features, configuration, answers and refusals: sections "Feature bits", "Device configuration layout", "Device operations". */

import { IommuFeature, MapFlag, RequestType, featureMask, hasFeature } from '@viommu/common';
import { type DriverCase, defineDriverCase } from './case.ts';
import type { DriverOutcome } from '../driver-target.ts';
import type { Reply, SeenRequest } from './scripted-device.ts';
import { A, B, C, type DriverSession, page } from './session.ts';

const { ATTACH, DETACH, MAP, UNMAP, PROBE } = RequestType;
const MMIO = featureMask(IommuFeature.MMIO);
const BYPASS_CONFIG = featureMask(IommuFeature.BYPASS_CONFIG);

/** Answers requests of one type with this reply, the others as ever. */
function answer(s: DriverSession, type: number, reply: Reply): void {
  s.device.answer = (request) => (request.type === type ? reply : undefined);
}

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

/** What is refused or not answered properly must not count as done. */
const STEPS: readonly {
  name: string;
  type: number;
  prepare: (s: DriverSession) => void;
  act: (s: DriverSession) => DriverOutcome;
}[] = [
  { name: 'attach', type: ATTACH, prepare: (s) => s.up(), act: (s) => s.attach(A) },
  { name: 'map', type: MAP, prepare: (s) => s.attached(), act: (s) => s.map(0) },
  {
    name: 'unmap',
    type: UNMAP,
    prepare: (s) => {
      s.attached();
      s.setUp(s.map(0));
    },
    act: (s) => s.unmap(0),
  },
  { name: 'probe', type: PROBE, prepare: (s) => s.up(), act: (s) => s.probe(A) },
];

/** The driver does not take the answer for a success, and serves another endpoint afterwards. */
function notDone(s: DriverSession, step: (typeof STEPS)[number], reply: Reply): void {
  step.prepare(s);
  answer(s, step.type, reply);
  const before = s.device.seen.length;
  const outcome = s.supported(step.act(s));
  if (!s.requests(step.type, before).some(() => true)) s.skip(`the driver sends no ${step.name}`);
  s.check(outcome.result !== 'ok', `the driver takes the ${step.name} for done`);
  if (step.type === ATTACH) s.check(s.requests(MAP).length === 0, 'the driver goes on to MAP');
  s.device.answer = () => undefined;
  s.must(s.attach(C).result === 'ok', 'the driver does not go on with another endpoint');
  s.must(s.map(0, 1, C).result === 'ok', 'the driver does not map for another endpoint');
}

const writableOf = ({ writableBytes }: SeenRequest): number => writableBytes;

export const REQUEST_CASES: readonly DriverCase[] = [
  ...[[0, 1, 4], [0], [1], [4]].map((bits, turn) =>
    defineDriverCase({
      id: `iommu.drv.features.accept-ranges-and-probe${turn === 0 ? '' : `#${bits[0]}`}`,
      title: `of these, features ${bits.join(', ')} are offered and accepted`,
      device: {
        without: [0, 1, 4]
          .filter((bit) => !bits.includes(bit))
          .reduce((set, bit) => set | featureMask(bit), 0n),
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
          s.device.registers.config.getUint8(0x24) === (value ? 1 : 0),
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
  ...STEPS.map(({ name, type, prepare, act }, turn) =>
    defineDriverCase({
      id: `iommu.drv.req.tail-reserved-ignored${turn === 0 ? '' : `#${name}`}`,
      title: `${name}: an OK whose reserved bytes are set is an OK`,
      run: (s) => {
        prepare(s);
        answer(s, type, { tailReserved: [0xa5, 0x5a, 0xff] });
        s.check(s.supported(act(s)).result === 'ok', `the ${name} counts as failed`);
        s.check(s.requests(type).length > 0, `the driver sends no ${name}`);
      },
    }),
  ),
  ...STEPS.map((step, turn) =>
    defineDriverCase({
      id: `iommu.drv.req.used-len-zero-is-failure${turn === 0 ? '' : `#${step.name}`}`,
      title: `${step.name}: used length 0 and an untouched buffer is a failure`,
      run: (s) => notDone(s, step, { untouched: true, usedBytes: 0 }),
    }),
  ),
  ...STEPS.map((step, turn) =>
    defineDriverCase({
      id: `split.drv.used.no-trust-past-len${turn === 0 ? '' : `#${step.name}`}`,
      title: `${step.name}: an OK behind used length 0 is none`,
      run: (s) => notDone(s, step, { usedBytes: 0 }),
    }),
  ),
  ...[1, 2, 3].map((usedBytes) =>
    defineDriverCase({
      id: `split.drv.used.ignore-past-len${usedBytes === 1 ? '' : `#${usedBytes}`}`,
      title: `a refusal with used length ${usedBytes} and ones behind it is no success`,
      run: (s) => {
        const step = STEPS[0]!; // The list is above.
        notDone(s, step, { status: 4, tailReserved: [0xff, 0xff, 0xff], usedBytes });
      },
    }),
  ),
  ...STEPS.flatMap((step) =>
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 0x7f, 0x80, 0xff].map((status) =>
      defineDriverCase({
        id: `open.1.14#${step.name}-${status}`,
        title: `${step.name}: status ${status} is a failure`,
        run: (s) => {
          step.prepare(s);
          answer(s, step.type, { status });
          const outcome = s.supported(step.act(s));
          s.must(outcome.result !== 'ok', `the driver takes the ${step.name} for done`);
          s.device.answer = () => undefined;
          s.must(s.attach(C).result === 'ok', 'the driver does not go on with another endpoint');
          s.must(s.map(0, 1, C).result === 'ok', 'the driver does not map for another endpoint');
        },
      }),
    ),
  ),
  ...[
    { name: 'long', usedBytes: 0x1000 },
    { name: 'huge', usedBytes: 0xffff_ffff },
  ].flatMap(({ name, usedBytes }) =>
    STEPS.map((step) =>
      defineDriverCase({
        id: `open.1.1#${step.name}-${name}`,
        title: `${step.name}: a used length above the buffer does no harm`,
        run: (s) => {
          step.prepare(s);
          answer(s, step.type, { usedBytes });
          s.note(`the ${step.name} counts as ${s.supported(step.act(s)).result}`);
          s.device.answer = () => undefined;
          s.must(s.attach(C).result === 'ok', 'the driver does not go on with another endpoint');
        },
      }),
    ),
  ),
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
  defineDriverCase({
    id: 'open.3.1',
    title: 'a DETACH that is refused does no harm',
    run: (s) => {
      s.attached();
      answer(s, DETACH, { status: 4 });
      s.note(`the detach counts as ${s.supported(s.detach()).result}`);
      s.device.answer = () => undefined;
      s.must(s.attach(C).result === 'ok', 'the driver does not go on with another endpoint');
    },
  }),
];
