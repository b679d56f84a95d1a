/** One random stream for a device and the model at once; they are compared after every step. */

import { expect } from 'vitest';
import { IommuConfig, RequestType } from '@viommu/common';
import { IommuDevice } from '@viommu/device';
import { type Answer, type Completion, agrees } from '../../src/model/answer.ts';
import type { Choices } from '../../src/model/choice.ts';
import { type AccessOutcome, Model } from '../../src/model/model.ts';
import type { Random } from './random.ts';
import { Generator } from './generator.ts';
import { ENDPOINTS, randomAcceptance, randomDevice } from './platform.ts';
import { type Cuts, Rig, WHOLE } from './rig.ts';

/** Domains, addresses and all that, compared in full only once in so many steps. */
const FULL_LOOK = 8;

export interface Counts {
  steps: number;
  /** How often each status came back; the last one counts requests that were not written. */
  readonly statuses: number[];
  faults: number;
  accesses: number;
  /** Answers for which another error came first. */
  reordered: number;
}

/** Runs `steps` steps and returns what happened. `make` gets the options of the device. */
export function runStream(
  random: Random,
  steps: number,
  choices: Partial<Choices> = {},
  make: (options: ReturnType<typeof randomDevice>) => IommuDevice = (options) =>
    new IommuDevice(options),
): Counts {
  const options = randomDevice(random);
  const rig = new Rig(make(options));
  const { offeredFeatures } = rig.device;
  const { inputRange, domainRange, ...rest } = options;
  const model = new Model({
    ...rest,
    limits: options.limits ?? {},
    ...(inputRange !== undefined && { inputRange }),
    ...(domainRange !== undefined && { domainRange }),
    offered: offeredFeatures,
    choices,
  });
  const stream = new Stream(random, rig, model, options.pageSizeMask ?? 1n);
  stream.start();
  for (let step = 0; step < steps; step += 1) stream.step();
  return stream.counts;
}

class Stream {
  readonly counts: Counts = {
    steps: 0,
    statuses: Array.from({ length: 10 }, () => 0),
    faults: 0,
    accesses: 0,
    reordered: 0,
  };
  readonly #random: Random;
  readonly #rig: Rig;
  readonly #model: Model;
  readonly #generator: Generator;
  readonly #resets: number;
  #posted = 0;
  #steps: string[] = [];

  constructor(random: Random, rig: Rig, model: Model, pageSizeMask: bigint) {
    this.#random = random;
    this.#rig = rig;
    this.#model = model;
    this.#generator = new Generator(random, model, pageSizeMask);
    this.#resets = random.pick([20, 100, 400]);
  }

  start(): void {
    const features = randomAcceptance(this.#random, this.#rig.device.offeredFeatures);
    this.#rig.start(features);
    this.#model.negotiate(features);
    this.#posted = 0;
    this.#say(`features ${features.toString(16)}`);
  }

  step(): void {
    const random = this.#random;
    this.counts.steps += 1;
    const kind = random.number(100);
    if (random.once(this.#resets)) this.#reset();
    else if (kind < 60) this.#request();
    else if (kind < 88) this.#access();
    else if (kind < 94) this.#post();
    else if (kind < 97) this.#writeConfig();
    else this.#plug();
    if (this.counts.steps % FULL_LOOK === 0) this.#look();
  }

  #request(): void {
    const random = this.#random;
    const { readable, room } = this.#generator.chain(this.#rig.device.iommu.probeSize);
    const cuts = random.once(2) ? WHOLE : this.#randomCuts();
    const mapped = readable[0] === RequestType.MAP ? this.#mappedSize() : 0;
    this.#say(`request ${hex(readable)} room ${room}`);
    const completion = this.#rig.request(readable, room, cuts);
    const answer = this.#expectAnswer(readable, room, completion);
    this.counts.statuses[answer.status ?? 9]! += 1; // There are ten.
    if (mapped > 0 && answer.status !== 0 && this.#mappedSize() !== mapped)
      this.#fail('a refused MAP changed something', answer);
  }

  #expectAnswer(readable: Uint8Array, room: number, completion: Completion | undefined): Answer {
    const model = this.#model;
    let prediction = model.predict(readable, room);
    if (completion === undefined) return this.#fail('no completion', prediction);
    if (!agrees(prediction.answer, completion)) {
      // Of several errors any may be found first (9.5).
      const others = model.alternatives(readable, room, () => false);
      const other = others.find((each) => agrees(each.prediction.answer, completion));
      if (other === undefined) return this.#fail('another answer', { prediction, completion });
      prediction = other.prediction;
      this.counts.reordered += 1;
    }
    model.commit(prediction);
    return prediction.answer;
  }

  #mappedSize(): number {
    return this.#rig.device.iommu.usage.mappings;
  }

  #access(): void {
    const random = this.#random;
    const endpoint = random.pick(ENDPOINTS);
    const address = this.#generator.accessed(endpoint);
    const length = random.pick([0, 1, 2, 8, 0x1000, 0x1001, 0x3000, 0x10_0000, 0xffff_ffff]);
    const access = random.pick([1, 1, 2, 2, 3]);
    this.#say(`access ${endpoint} ${address.toString(16)} ${length} ${access}`);
    const expected = this.#model.access(endpoint, address, length, access);
    const actual = this.#rig.access(endpoint, address, length, access);
    this.counts.accesses += 1;
    if (expected.fault !== undefined) this.counts.faults += 1;
    this.#posted -= expected.events.length;
    // The device's own account of a fault is in its own words; the record is in those of the peer.
    const { faultUnattached, faultPermission } = this.#model.choices;
    const own = faultUnattached === 'DOMAIN' && faultPermission === 'MAPPING';
    const seen = ({ fault, ...rest }: AccessOutcome): string =>
      text({ ...rest, address: fault?.address, reason: own ? fault?.reason : undefined });
    if (seen(actual) !== seen(expected)) this.#fail('another outcome', { expected, actual });
  }

  #post(): void {
    if (this.#posted >= 16) return;
    const bytes = this.#random.pick([24, 24, 24, 32, 23, 8, 1]);
    this.#posted += 1;
    this.#say(`post ${bytes}`);
    this.#rig.postEvent(bytes);
    this.#model.postEvent(bytes);
  }

  #writeConfig(): void {
    const random = this.#random;
    const offset = random.pick([
      IommuConfig.offset.bypass,
      IommuConfig.offset.bypass,
      0,
      0x20,
      0x25,
    ]);
    const width = random.pick([1, 1, 1, 2, 4]);
    const value = random.pick([0, 1, 0, 1, 2, 0xff]);
    this.#say(`config ${offset} ${width} ${value}`);
    this.#rig.device.writeConfig(offset, width, value);
    this.#model.writeConfig(offset, width, value);
  }

  #reset(): void {
    const system = this.#random.once(3);
    this.#say(system ? 'system reset' : 'reset');
    if (system) this.#model.systemReset();
    else this.#model.reset();
    // A system reset is one of the device as well.
    this.#rig.device.reset();
    if (system) this.#rig.device.systemReset();
    this.start();
  }

  #plug(): void {
    const id = ENDPOINTS.at(-1)!; // It has elements.
    const { iommu } = this.#rig.device;
    this.#say(`plug ${id}`);
    if (iommu.endpoints.some((endpoint) => endpoint === id)) {
      iommu.unplug(id);
      this.#model.unplug(id);
    } else {
      iommu.plug({ id });
      this.#model.plug({ id });
    }
  }

  /** Compares all that there is to see. */
  #look(): void {
    const { device } = this.#rig;
    const { iommu, droppedFaults, config } = device;
    const model = this.#model;
    const ids = ENDPOINTS.map((id) => [id, iommu.domainOf(id)]);
    const expectedIds = ENDPOINTS.map((id) => [id, model.domainOf(id)]);
    if (text(ids) !== text(expectedIds)) this.#fail('other domains', { ids, expectedIds });
    if (text(config) !== text(model.config()))
      this.#fail('another configuration', [config, model.config()]);
    if (model.choices.faultReport === 'always' && droppedFaults !== model.droppedFaults)
      this.#fail('other drops', [droppedFaults, model.droppedFaults]);
    if (text(iommu.domains) !== text(model.domains))
      this.#fail('other domains', [iommu.domains, model.domains]);
    for (const domain of model.domains) {
      const actual = this.#rig.mappings(domain);
      const expected = model.mappings(domain);
      if (text(actual) !== text(expected)) this.#fail('other mappings', { actual, expected });
    }
  }

  #randomCuts(): Cuts {
    const sizes = (): number[] =>
      Array.from({ length: this.#random.number(4) }, () => 1 + this.#random.number(20));
    return { readable: sizes(), writable: sizes() };
  }

  #say(step: string): void {
    this.#steps.push(step);
    if (this.#steps.length > 60) this.#steps = this.#steps.slice(-30);
  }

  #fail(what: string, detail: unknown): never {
    expect.fail(`${what}: ${text(detail)}\n${this.#steps.slice(-30).join('\n')}`);
  }
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Anything as text that differs if it does. */
function text(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) => {
    if (typeof each === 'bigint') return `0x${each.toString(16)}`;
    return each instanceof Uint8Array ? hex(each) : each;
  });
}
