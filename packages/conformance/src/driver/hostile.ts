/** A device that breaks its own rules: no driver may crash, hang or take anything for done that was not. */

import { DeviceStatus, RequestType, VirtioFeature, featureMask } from '@viommu/common';
import { type DriverCase, defineDriverCase } from './case.ts';
import type { DeviceScript, Reply } from './scripted-device.ts';
import type { DriverSession } from './session.ts';

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
    device: { ...device, without: featureMask(VirtioFeature.IN_ORDER) },
    run: (s) => {
      s.attached();
      // Held until the driver waits, and then answered last first, with every second refused.
      answerMaps(s, { hold: true });
      s.onWork = () => {
        const order = Array.from(
          { length: s.device.held },
          (_, index) => s.device.held - 1 - index,
        );
        if (order.length > 0) s.device.release({}, order);
      };
      s.must(s.supported(s.map(0, 4)).result === 'ok', 'a MAP that was granted counts as failed');
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
]);
