/** The machine as its firmware describes it: a device tree with the IOMMU and everything that is behind it, or not. */

import { MMIO_WINDOW_SIZE } from '@viommu/common';
import { GRANT_COMPATIBLE } from '@viommu/iommu';
import type { GuestEndpoint } from './guest.ts';
import { REGISTERS_BASE } from './memory-map.ts';

/** What a guest may find out of order in its firmware, for those who want to see what it does then. */
export interface TreeOptions {
  /** The IOMMU is there and not to be used. */
  readonly iommuDisabled?: boolean;
  /** Changes the source of the tree, whatever it says. */
  readonly amend?: (source: string) => string;
}

/** The source of the tree. */
export function machineTree(
  endpoints: Iterable<GuestEndpoint>,
  { iommuDisabled = false, amend = (source) => source }: TreeOptions = {},
): string {
  const all = [...endpoints];
  const lines = [
    '/dts-v1/;',
    '/ {',
    '  #address-cells = <2>;',
    '  #size-cells = <2>;',
    ...nodeLines('viommu: iommu', REGISTERS_BASE, [
      '#iommu-cells = <1>;',
      ...(iommuDisabled ? ['status = "disabled";'] : []),
    ]),
  ];
  if (all.some(({ backend }) => backend !== undefined))
    lines.push(
      '  xen_iommu: xen-iommu {',
      `    compatible = "${GRANT_COMPATIBLE}";`,
      '    #iommu-cells = <1>;',
      '  };',
    );
  for (const { kind, address, backend, id } of all)
    if (kind === 'disk') {
      const iommus =
        backend !== undefined
          ? [`&xen_iommu ${backend}`]
          : id !== undefined
            ? [`&viommu ${id}`]
            : [];
      const named = iommus.map((iommu) => `iommus = <${iommu}>;`);
      lines.push(...nodeLines('virtio', address, [...named, 'dma-coherent;']));
    }
  return amend(`${[...lines, '};'].join('\n')}\n`);
}

/** The path of the node of a register window. */
export function nodePath(name: 'iommu' | 'virtio', address: bigint): string {
  return `/${name}@${address.toString(16)}`;
}

function nodeLines(name: string, address: bigint, more: readonly string[]): string[] {
  const hex = address.toString(16);
  return [
    `  ${name}@${hex} {`,
    '    compatible = "virtio,mmio";',
    `    reg = <0x0 0x${hex} 0x0 0x${MMIO_WINDOW_SIZE.toString(16)}>;`,
    ...more.map((line) => `    ${line}`),
    '  };',
  ];
}
