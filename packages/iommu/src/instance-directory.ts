/** What the directory view shows of an IOMMU: the devices it serves. */

import { IommuError } from '@viommu/common';
import type { Device } from './device.ts';
import type { Directory } from './group-directory.ts';

/** The directory of one IOMMU, `/sys/class/iommu/<name>`. */
export class InstanceDirectory {
  readonly path: string;
  readonly #directory: Directory;
  readonly #links: Map<Device, string> = new Map();

  /** @throws {IommuError} `EEXIST` if another IOMMU has the name. */
  constructor(directory: Directory, name: string) {
    this.path = `/sys/class/iommu/${name}`;
    if (directory.has(this.path)) throw new IommuError('EEXIST', `There is a ${name} already.`);
    this.#directory = directory;
    directory.makeDirectory(`${this.path}/devices`);
  }

  /** Lists a device; of two with one name the second is called `name.0`. @throws {IommuError} `EEXIST` */
  add(device: Device): void {
    if (this.#links.has(device))
      throw new IommuError('EEXIST', `${device.name} is listed already.`);
    this.#links.set(
      device,
      this.#directory.makeNumberedLink(`${this.path}/devices`, device.name, device.path),
    );
  }

  /** Lists it no longer. */
  remove(device: Device): void {
    const name = this.#links.get(device);
    if (name === undefined) return;
    this.#directory.remove(`${this.path}/devices/${name}`);
    this.#links.delete(device);
  }

  /** The IOMMU goes away. */
  end(): void {
    this.#directory.remove(this.path);
    this.#links.clear();
  }
}
