/** A device that breaks its own rules: no driver may crash, hang or take anything for done that was not. */

import { DeviceStatus, RequestType, Status, VirtioFeature, featureMask } from '@viommu/common';
import type { DriverOutcome } from '../driver-target.ts';
import { type DriverCase, defineDriverCase } from './case.ts';
import type { DeviceScript, Reply } from './scripted-device.ts';
import { A, type DriverSession } from './session.ts';

const { MAP } = RequestType;
const PACKED = featureMask(VirtioFeature.RING_PACKED);
const FORMATS: readonly (readonly [suffix: string, device: DeviceScript])[] = [
  ['', {}],
  ['-packed', { with: PACKED }],
];

/** Answers the next MAP so, and MAPs afterwards too. */
function answerMaps(s: DriverSession, reply: Reply): void {
  s.device.answer = ({ type }) => (type === MAP ? reply : undefined);
}

/** Used entries that no honest device writes. */
const FORGERIES: readonly { name: string; title: string; reply: Reply }[] = [
  { name: 'id-outside', title: 'a used id outside the queue', reply: { id: 0xffff } },
  {
    name: 'id-idle',
    title: 'a used id of a buffer that the device does not have',
    reply: { id: 37 },
  },
];

/** Places of all that the device holds, the last first. */
function lastFirst(s: DriverSession): number[] {
  return Array.from({ length: s.device.held }, (_, index) => s.device.held - 1 - index);
}

/**
 * Has the driver send several MAPs at once: those of a domain that an endpoint comes back to. `answer` is called when the
 * device holds them all.
 */
function replayed(s: DriverSession, answer: () => void): DriverOutcome {
  s.up();
  s.setUp(s.attach(A, 'kept'));
  for (let turn = 0; turn < 4; turn += 1) s.setUp(s.map(turn));
  s.setUp(s.detach(A));
  answerMaps(s, { hold: true });
  let held = 0;
  s.onWork = () => {
    // All of them are there once no more come.
    if (s.device.held === held && held > 1) answer();
    held = s.device.held;
  };
  const outcome = s.attach(A, 'kept');
  if (s.requests(MAP).length < 6) s.skip('the driver does not send several MAPs at once');
  s.onWork = () => undefined;
  s.device.answer = () => undefined;
  return outcome;
}

export const HOSTILE_CASES: readonly DriverCase[] = FORMATS.flatMap(([suffix, device]) => [
  ...FORGERIES.map(({ name, title, reply }) =>
    defineDriverCase({
      id: `open.10.2#${name}${suffix}`,
      title: `${title} is no answer`,
      device,
      run: (s) => {
        s.attached();
        answerMaps(s, reply);
        s.must(s.supported(s.map(0)).result !== 'ok', 'the driver takes the MAP for done');
        s.device.answer = () => undefined;
        s.note(`another MAP is ${s.map(1).result}`);
        s.perform({ kind: 'remove' });
      },
    }),
  ),
  defineDriverCase({
    id: `open.10.2#stale${suffix}`,
    title: 'the id of a buffer that was given back before is no answer',
    device,
    run: (s) => {
      s.attached();
      s.device.answer = ({ type, chain }) => {
        if (type !== MAP) return undefined;
        const id = s.device.seen.map((one) => one.chain.id).find((one) => one !== chain.id);
        return id === undefined ? { hold: true } : { id };
      };
      s.must(s.supported(s.map(0)).result !== 'ok', 'the driver takes the MAP for done');
      s.perform({ kind: 'remove' });
    },
  }),
  defineDriverCase({
    id: `open.10.2#twice${suffix}`,
    title: 'a buffer that is given back twice counts once',
    device,
    run: (s) => {
      s.attached();
      answerMaps(s, { twice: true });
      s.note(`the MAP is ${s.supported(s.map(0)).result}`);
      // The next request must not be completed by the second entry of the one before.
      answerMaps(s, { hold: true });
      s.must(s.map(1).result !== 'ok', 'the driver takes a MAP for done that nobody answered');
      s.perform({ kind: 'remove' });
    },
  }),
  defineDriverCase({
    id: `open.10.1${suffix === '' ? '' : `#${suffix.slice(1)}`}`,
    title: 'more used entries than there are buffers do no harm',
    device,
    run: (s) => {
      s.attached();
      s.setUp(s.map(0));
      const chain = s.requests(MAP).at(-1)?.chain;
      const ring = s.device.requests;
      if (chain === undefined || ring === undefined) return s.skip('the driver sends no MAP');
      for (let turn = 0; turn < ring.layout.size + 5; turn += 1) ring.give(chain, 4, 0x7000 + turn);
      s.device.interrupt(1);
      s.handleInterrupt();
      answerMaps(s, { hold: true });
      s.must(s.map(1).result !== 'ok', 'the driver takes a MAP for done that nobody answered');
      s.perform({ kind: 'remove' });
    },
  }),
  defineDriverCase({
    id: `basic.drv.status.needs-reset-no-reliance${suffix === '' ? '' : `#${suffix.slice(1)}`}`,
    title: 'with DEVICE_NEEDS_RESET nobody waits for the answer for good',
    device,
    run: (s) => {
      s.attached();
      answerMaps(s, { hold: true });
      s.onWork = () => {
        if (
          s.device.held > 0 &&
          (s.device.registers.status & DeviceStatus.DEVICE_NEEDS_RESET) === 0
        )
          s.device.needReset();
      };
      s.check(s.supported(s.map(0)).result !== 'ok', 'the driver takes the MAP for done');
      s.handleInterrupt();
      s.perform({ kind: 'remove' });
    },
  }),
  defineDriverCase({
    id: `open.11.22#silence${suffix}`,
    title: 'a device that says nothing is not waited for for good',
    device,
    run: (s) => {
      s.attached();
      s.device.alive = false;
      s.must(s.supported(s.map(0)).result !== 'ok', 'the driver takes the MAP for done');
      s.must(s.attach(9).result !== 'ok', 'the driver takes an attach for done');
      s.perform({ kind: 'remove' });
    },
  }),
  defineDriverCase({
    id: `open.11.22#reset-in-the-middle${suffix}`,
    title: 'a device whose status is 0 all of a sudden does no harm',
    device,
    run: (s) => {
      s.attached();
      s.onWork = () => {
        s.device.registers.status = 0;
      };
      s.must(s.supported(s.map(0)).result !== 'ok', 'the driver takes the MAP for done');
      s.handleInterrupt();
      s.perform({ kind: 'remove' });
    },
  }),
  defineDriverCase({
    id: `open.9.1#out-of-order${suffix}`,
    title: 'answers in another order reach those who asked',
    device,
    run: (s) => {
      const outcome = replayed(s, () => s.device.release({}, lastFirst(s)));
      s.must(outcome.result === 'ok', 'MAPs that were granted count as failed');
      s.must(s.unmap(0).result === 'ok', 'the driver does not unmap what was mapped');
    },
  }),
  defineDriverCase({
    id: `open.9.1#one-refused${suffix}`,
    title: 'of several answers a refusal in the middle is not overlooked',
    device,
    run: (s) => {
      const outcome = replayed(s, () => {
        s.device.release({}, [0]);
        s.device.release({ status: Status.NOMEM }, [0]);
        s.device.release();
      });
      s.must(outcome.result !== 'ok', 'the driver takes everything for mapped');
    },
  }),
  defineDriverCase({
    id: `open.7.13${suffix === '' ? '' : `#${suffix.slice(1)}`}`,
    title: 'a configuration change while it runs does no harm',
    device,
    run: (s) => {
      s.attached();
      const { registers } = s.device;
      registers.generation += 1;
      s.device.interrupt(2);
      s.handleInterrupt();
      s.must(s.map(0).result === 'ok' && s.unmap(0).result === 'ok', 'the driver does not go on');
    },
  }),
  // Not hostile, and rare enough.
  defineDriverCase({
    id: suffix === '' ? 'fact.split.in-order-offset' : 'open.9.3#packed',
    title: 'with IN_ORDER one used entry may stand for several requests',
    device: { with: (device.with ?? 0n) | featureMask(VirtioFeature.IN_ORDER) },
    run: (s) => {
      const outcome = replayed(s, () => s.device.releaseBatch());
      if (!s.device.has(VirtioFeature.IN_ORDER)) s.skip('the driver does not accept IN_ORDER');
      s.must(outcome.result === 'ok', 'MAPs that were granted count as failed');
      s.must(s.map(9).result === 'ok', 'the driver does not go on');
      s.must(s.unmap(0).result === 'ok', 'the driver does not unmap what was mapped');
    },
  }),
]);
