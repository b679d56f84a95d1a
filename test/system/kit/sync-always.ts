/** What drivers did before sync-map: a wait for each mapping, and one for each that goes. */

import type { IommuDomain } from '@viommu/common';

/** Makes a domain wait after every map and every unmap. */
export function syncAlways(ops: IommuDomain): void {
  const mapPages = ops.mapPages.bind(ops);
  const unmapPages = ops.unmapPages.bind(ops);
  ops.mapPages = (startPage, physPage, blockPages, count, protection) => {
    const pages = mapPages(startPage, physPage, blockPages, count, protection);
    ops.syncMap(startPage, pages);
    return pages;
  };
  ops.unmapPages = (startPage, blockPages, count) => {
    const pages = unmapPages(startPage, blockPages, count);
    ops.sync();
    return pages;
  };
}
