/** What a driver makes of answers: refusals, used lengths, tails. Section "Device operations". */

import { RequestType } from '@viommu/common';
import type { DriverOutcome } from '../driver-target.ts';
import { type DriverCase, defineDriverCase } from './case.ts';
import type { Reply } from './scripted-device.ts';
import { A, C, type DriverSession } from './session.ts';

const { ATTACH, DETACH, MAP, UNMAP, PROBE } = RequestType;

/** Answers requests of one type with this reply, the others as ever. */
function answer(s: DriverSession, type: number, reply: Reply): void {
  s.device.answer = (request) => (request.type === type ? reply : undefined);
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

export const ANSWER_CASES: readonly DriverCase[] = [
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
