/** Our driver, in this thread. */

import { IommuError, MmioRegister, Protection, guestPhysical, pageOf } from '@viommu/common';
import {
  type Domain,
  type Endpoint,
  IommuDriver,
  type IommuDriverOptions,
  allocIdentity,
  allocPaging,
  attach,
  detach,
  iotlbSync,
  iotlbSyncMap,
  mapPages,
  releaseDevice,
  unmapPages,
} from '@viommu/driver';
import { Bell } from '@viommu/ring';
import { MmioTransport, type RegisterPort } from '@viommu/transport';
import type {
  DriverAction,
  DriverEnvironment,
  DriverOutcome,
  DriverTarget,
  DriverTargetFactory,
} from '../driver-target.ts';

const OK: DriverOutcome = { result: 'ok' };
const UNSUPPORTED: DriverOutcome = { result: 'unsupported' };
const PAGE_BYTES = 4096n;

/** `viommu conform --side driver --target core`. */
export const coreDriver: DriverTargetFactory = coreDriverWith('core', {});

/** Our driver with options of its own. */
export function coreDriverWith(
  name: string,
  options: Partial<IommuDriverOptions>,
): DriverTargetFactory {
  return { name, open: () => new CoreDriver(options) };
}

class CoreDriver implements DriverTarget {
  readonly #options: Partial<IommuDriverOptions>;
  #environment: DriverEnvironment | undefined;
  #driver: IommuDriver | undefined;
  readonly #endpoints: Map<number, Endpoint> = new Map();
  /** Domains with a name, which endpoints share. */
  readonly #domains: Map<string, Domain> = new Map();
  #faults: { endpoint: number; address?: bigint }[] = [];

  constructor(options: Partial<IommuDriverOptions>) {
    this.#options = options;
  }

  start(environment: DriverEnvironment): DriverOutcome {
    this.#environment = environment;
    return attempt(() => {
      this.#driver = this.#takeOver(environment, {});
      return OK;
    });
  }

  perform(action: DriverAction): DriverOutcome {
    return attempt(() => this.#perform(action));
  }

  takeFaults(): readonly { readonly endpoint: number; readonly address?: bigint }[] {
    return this.#faults.splice(0);
  }

  dispose(): void {}

  #perform(action: DriverAction): DriverOutcome {
    const driver = this.#driver;
    const environment = this.#environment;
    if (driver === undefined || environment === undefined)
      return { result: 'refused', reason: 'it has no device' };
    switch (action.kind) {
      case 'probe': {
        const endpoint = this.#endpoint(driver, action.endpoint, true);
        const reserved = endpoint.regions.map(({ start, last, type }) => ({ start, last, type }));
        return { result: 'ok', reserved };
      }
      case 'attach': {
        const endpoint = this.#endpoint(driver, action.endpoint);
        attach(this.#domain(endpoint, action), endpoint);
        return OK;
      }
      case 'detach':
        detach(this.#endpoint(driver, action.endpoint));
        return OK;
      case 'map':
        return this.#map(this.#endpoint(driver, action.endpoint), action);
      case 'unmap':
        return this.#unmap(this.#endpoint(driver, action.endpoint), action);
      case 'interrupt':
        // A device can report as fast as it is served.
        for (let turns = 0; turns < 100 && driver.serveEvents() > 0; turns += 1);
        return driver.state === 'live' ? OK : { result: 'refused', reason: 'the device is lost' };
      case 'bypass':
        // It says what endpoints without a domain may do when it takes a device over, and at no other time.
        driver.remove();
        this.#forget();
        this.#driver = this.#takeOver(environment, { bypass: action.value });
        return OK;
      case 'reset-queue':
        if (action.queue === 0) driver.resetRequestQueue();
        else driver.resetEventQueue();
        return OK;
      case 'remove':
        driver.remove();
        this.#forget();
        this.#driver = undefined;
        return OK;
      default:
        return UNSUPPORTED;
    }
  }

  #takeOver(environment: DriverEnvironment, more: Partial<IommuDriverOptions>): IommuDriver {
    const { memory, window, registers } = environment;
    const port: RegisterPort = {
      read: (offset, width) => registers.read(offset, width),
      write: (offset, width, value) => registers.write(offset, width, value),
      post: (offset, width, value) => registers.write(offset, width, value),
    };
    const interruptBell = new Bell(new Int32Array(new SharedArrayBuffer(4)), 0);
    let free = window.start;
    return IommuDriver.probe({
      transport: new MmioTransport({
        port,
        doorbells: { ring: (_queue, data) => registers.write(MmioRegister.QueueNotify, 4, data) },
        interruptBell,
      }),
      memory,
      pages: {
        allocate: (sizeBytes, alignment) => {
          const step = BigInt(alignment);
          const address = ((free + step - 1n) / step) * step;
          free = address + BigInt(sizeBytes);
          // The upper half is for what is mapped.
          if (free > window.start + BigInt(window.bytes / 2))
            throw new IommuError('ENOMEM', 'The window of the suite is used up.');
          return guestPhysical(address);
        },
      },
      clock: { now: () => environment.now() },
      idle: () => void environment.work(),
      onFault: ({ endpointId, address }) =>
        this.#faults.push({ endpoint: endpointId, ...(address === undefined ? {} : { address }) }),
      ...this.#options,
      ...more,
    });
  }

  /** The endpoint, probed if it is new or `anew` says so. */
  #endpoint(driver: IommuDriver, id: number, anew = false): Endpoint {
    const known = this.#endpoints.get(id);
    if (known !== undefined && !anew) return known;
    if (known !== undefined) releaseDevice(known);
    const endpoint = driver.probeDevice([id]);
    this.#endpoints.set(id, endpoint);
    return endpoint;
  }

  #domain(endpoint: Endpoint, action: Extract<DriverAction, { kind: 'attach' }>): Domain {
    if (action.bypass === true) return allocIdentity([endpoint]);
    const { domain: name } = action;
    if (name === undefined) return allocPaging(endpoint);
    const domain = this.#domains.get(name) ?? allocPaging(endpoint);
    this.#domains.set(name, domain);
    return domain;
  }

  #map({ domain, name }: Endpoint, action: Extract<DriverAction, { kind: 'map' }>): DriverOutcome {
    if (domain === null) return { result: 'refused', reason: `${name} is in no domain` };
    const { iova, phys, bytes } = action;
    if ((iova | phys | bytes) % PAGE_BYTES !== 0n)
      return { result: 'refused', reason: 'mappings are made of whole pages' };
    const protection =
      (action.read === false ? 0 : Protection.READ) |
      (action.write ? Protection.WRITE : 0) |
      (action.mmio === true ? Protection.MMIO : 0);
    const [page, count] = [Number(iova / PAGE_BYTES), Number(bytes / PAGE_BYTES)];
    mapPages(domain, page, Number(phys / PAGE_BYTES), count, protection);
    iotlbSyncMap(domain, page, count);
    return OK;
  }

  #unmap(
    { domain, name }: Endpoint,
    action: Extract<DriverAction, { kind: 'unmap' }>,
  ): DriverOutcome {
    if (domain === null) return { result: 'refused', reason: `${name} is in no domain` };
    const [page, count] = [pageOf(action.iova), Number(action.bytes / PAGE_BYTES)];
    const { unmapFailures } = domain;
    const done = unmapPages(domain, page, count);
    iotlbSync(domain);
    if (done !== count)
      return { result: 'refused', reason: `${done} of ${count} pages are mapped` };
    return domain.unmapFailures === unmapFailures
      ? OK
      : { result: 'refused', reason: 'the device refuses the UNMAP' };
  }

  #forget(): void {
    this.#endpoints.clear();
    this.#domains.clear();
  }
}

/** What the driver throws at its caller is an answer; anything else is a crash. */
function attempt(action: () => DriverOutcome): DriverOutcome {
  try {
    return action();
  } catch (error) {
    if (error instanceof IommuError)
      return { result: 'refused', reason: `${error.code}: ${error.message}` };
    throw error;
  }
}
